"""Coordinate-wise median. Yin et al. 2018, arXiv:1803.01498, section 4."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule


class Median(AggregationRule):
    """Takes the median of each coordinate; tolerates fewer than half malicious clients."""

    kind: Literal["median"] = "median"
    title: ClassVar[str] = "Median"
    source: ClassVar[str] = "Yin et al. 2018, arXiv:1803.01498, algorithm 1, option I"
    fails: ClassVar[str] = (
        "malicious clients in half of the cohort or more, malicious updates within the honest"
        " spread, and skewed clients"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Averages the two middle values of an even number.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        ordered, clients = rows.sort(dim=0).values, len(rows)
        return (ordered[(clients - 1) // 2] + ordered[clients // 2]) / 2
