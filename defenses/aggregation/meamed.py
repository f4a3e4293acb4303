"""Mean around the median. Xie et al. 2018, arXiv:1802.10116."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule

LIMIT = Breakdown(2, 1)


class MeanAroundMedian(AggregationRule):
    """Averages the values nearest to each coordinate's median, all but `faulty` of them."""

    kind: Literal["meamed"] = "meamed"
    title: ClassVar[str] = "Mean around the median (MeaMed)"
    source: ClassVar[str] = "Xie et al. 2018, arXiv:1802.10116"
    fails: ClassVar[str] = (
        "more malicious clients than it assumes, and malicious updates near the median"
    )
    faulty: int = Field(
        1, ge=0, le=499, description="number of malicious clients assumed in a round"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        return around_median(rows, len(rows) - self.faulty)

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)


def around_median(rows: Tensor, count: int) -> Tensor:
    """Average the `count` values nearest to the median of each coordinate.  -> (params,)

    Sorted, they lie side by side.  The lowest is left out while the value `count` places above it
    is
    nearer to the median; of two that are equally near, the lower stays.  The comparison is in
    float64,
    because float32 rounds the mean of two middle values.
    """
    clients = len(rows)
    ordered = rows.sort(dim=0).values
    values = ordered.detach()
    middles = values[(clients - 1) // 2].double() + values[clients // 2]  # twice the median
    # median - lower > upper - median
    farther = values[: clients - count].double() + values[count:] < middles  # (faulty, params)
    begin = farther.sum(dim=0)  # (params,)
    place = torch.arange(clients, device=rows.device).unsqueeze(1)  # (clients, 1)
    inside = (place >= begin) & (place < begin + count)
    return torch.where(inside, ordered, 0).sum(dim=0) / count
