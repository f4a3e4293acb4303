"""The silent channel: no messages, for the baselines."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lab.interfaces.aggregation import Channel
from lab.interfaces.messages import Cohort, ReceivedUpdates


class Silent(Channel):
    """Sends no message at all; no client is lost."""

    kind: Literal["silent"] = "silent"
    title: ClassVar[str] = "No communication"

    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> ReceivedUpdates:
        return ReceivedUpdates(
            rows=rows[:0],
            weights=cohort.weights[:0],
            senders=(),
            arrived=torch.ones(len(cohort.clients), dtype=torch.bool),
            bytes_up=0,
            bytes_down=0,
        )
