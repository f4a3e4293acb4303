"""The masked channel: the server learns one row, the weighted mean of all that arrived."""

from __future__ import annotations

from hashlib import sha256
from math import ceil
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.secure_aggregation.protocol import Aborted, aggregate
from defenses.secure_aggregation.ring import Ring
from lab.parts import Channel
from lab.wire import Cohort, Delivery, empty_rows


class Masked(Channel):
    """Secure aggregation: every update travels under masks that cancel only in the sum."""

    kind: Literal["masked"] = "masked"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281, figure 4"
    threshold: float = Field(0.67, gt=0.5, le=1, description="share of clients needed to unmask")
    bound: float = Field(8.0, gt=0, description="largest coordinate of an update")
    heaviest: float = Field(1.0, gt=0, description="largest weight of a client; public")

    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> Delivery:
        """The one visible row is the plain weighted mean up to `Ring.error`."""
        clients = len(cohort.clients)
        down = sent.nbytes * clients
        ring = Ring(clients, self.bound, self.heaviest)
        words = ring.encode(rows.numpy(), cohort.weights.double().numpy())
        lost = [place for place in range(clients) if cohort.lost[place]]
        # Two at least: the sum of one is that one.
        needed = max(2, ceil(self.threshold * clients))
        try:
            exchange = aggregate(words, lost, needed, self._context(cohort, sent))
        except Aborted as error:
            return _nothing(cohort, sent, error)
        mean, weight = ring.decode(exchange.total)
        arrived = ~cohort.lost
        senders = tuple(c for c, here in zip(cohort.clients, arrived, strict=True) if here)
        return Delivery(
            rows=torch.from_numpy(mean.astype(np.float32)).unsqueeze(0),
            weights=torch.tensor([weight]),
            senders=(senders,),
            arrived=arrived,
            bytes_up=exchange.bytes_up,
            bytes_down=exchange.bytes_down + down,
            masked=exchange.masked,
            note=self._clipped(rows[arrived]),
        )

    def _clipped(self, rows: Tensor) -> str:
        over = int((rows.abs() > self.bound).sum())
        return f"{over} coordinates were clipped to {self.bound:g} before masking" if over else ""

    def _context(self, cohort: Cohort, sent: Tensor) -> bytes:
        """Keys are bound to round and model: clients who were sent different models never agree."""
        return f"{cohort.seed}|{cohort.round}|".encode() + sha256(sent.numpy().tobytes()).digest()


def _nothing(cohort: Cohort, sent: Tensor, error: Aborted) -> Delivery:
    return Delivery(
        rows=empty_rows(len(sent)),
        weights=torch.zeros(0),
        senders=(),
        arrived=torch.zeros_like(cohort.lost),
        bytes_up=error.bytes_up,
        bytes_down=error.bytes_down + sent.nbytes * len(cohort.clients),
        note=f"secure aggregation aborted: {error}",
    )
