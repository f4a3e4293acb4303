"""The silent channel: no message at all, for the baselines."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from lab.interfaces.aggregation import Channel
from lab.interfaces.messages import Cohort, ReceivedUpdates


class Silent(Channel):
    """Nothing travels; nobody is lost on the way."""

    kind: Literal["silent"] = "silent"

    def __call__(self, rows: Tensor, cohort: Cohort, sent: Tensor) -> ReceivedUpdates:
        return ReceivedUpdates(
            rows=rows[:0],
            weights=cohort.weights[:0],
            senders=(),
            arrived=torch.ones(len(cohort.clients), dtype=torch.bool),
            bytes_up=0,
            bytes_down=0,
        )
