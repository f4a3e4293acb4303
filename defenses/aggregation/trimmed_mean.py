"""Coordinate-wise trimmed mean. Yin et al. 2018, arXiv:1803.01498, section 4."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule

LIMIT = Breakdown(2, 1)


class TrimmedMean(AggregationRule):
    """Drops the extremes of each coordinate, averages the rest; tolerates as many as it drops."""

    kind: Literal["trimmed-mean"] = "trimmed-mean"
    title: ClassVar[str] = "Trimmed mean"
    source: ClassVar[str] = "Yin et al. 2018, arXiv:1803.01498, algorithm 1, option II"
    fails: ClassVar[str] = (
        "more malicious clients than it drops, and malicious updates within the honest spread"
    )
    faulty: int = Field(
        1, ge=0, le=499, description="number of values dropped at each end of a coordinate"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        return rows.sort(dim=0).values[self.faulty : len(rows) - self.faulty].mean(dim=0)

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)
