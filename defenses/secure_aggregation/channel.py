"""The masked channel: the server learns one row, the weighted mean of all that arrived."""

from __future__ import annotations

from hashlib import sha256
from math import ceil
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.secure_aggregation.protocol import Exchange, aggregate
from defenses.secure_aggregation.ring import Ring
from lab.parts import Channel
from lab.wire import Cohort, Delivery, empty_rows

FEWEST = 3  # of two, each would learn the other's update from the sum


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
        needed = max(FEWEST, ceil(self.threshold * clients - 1e-9))
        ring = Ring(clients, self.bound, self.heaviest)
        exchange = Exchange(np.zeros((0, 0), np.uint32), None, 0, 0)
        if clients >= needed:
            words = ring.encode(rows.numpy(), cohort.weights.double().numpy())
            lost = [place for place in range(clients) if cohort.lost[place]]
            exchange = aggregate(words, lost, needed, context_of(cohort, sent))
        if exchange.total is None:
            why = f"{cohort.present} of {clients} clients answered and {needed} are needed"
            return self._empty(cohort, sent, exchange, f"secure aggregation aborted: {why}")
        mean, weight = ring.decode(exchange.total)
        arrived = ~cohort.lost
        senders = tuple(c for c, here in zip(cohort.clients, arrived, strict=True) if here)
        return Delivery(
            rows=torch.from_numpy(mean.astype(np.float32)).unsqueeze(0),
            weights=torch.tensor([weight]),
            senders=(senders,),
            arrived=arrived,
            bytes_up=exchange.bytes_up,
            bytes_down=exchange.bytes_down + sent.nbytes * clients,
            masked=exchange.masked,
            note=self._clipped(rows[arrived]),
        )

    def _clipped(self, rows: Tensor) -> str:
        over = int((rows.abs() > self.bound).sum())
        return f"{over} coordinates were clipped to {self.bound:g} before masking" if over else ""

    def _empty(self, cohort: Cohort, sent: Tensor, exchange: Exchange, note: str) -> Delivery:
        """Masked rows may have come, but they tell nothing without the unmasking."""
        return Delivery(
            rows=empty_rows(len(sent)),
            weights=torch.zeros(0),
            senders=(),
            arrived=torch.zeros_like(cohort.lost),
            bytes_up=exchange.bytes_up,
            bytes_down=exchange.bytes_down + sent.nbytes * len(cohort.clients),
            masked=exchange.masked,
            aborted=True,
            note=note,
        )


def context_of(cohort: Cohort, sent: Tensor) -> bytes:
    """What keys are bound to: the round, and the model as each client hashes what it received.

    Clients who were sent different models derive different masks, which never cancel.
    """
    return f"{cohort.seed}|{cohort.round}|".encode() + sha256(sent.numpy().tobytes()).digest()
