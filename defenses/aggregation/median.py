"""Coordinate-wise median. Yin et al. 2018, arXiv:1803.01498, section 4."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule


class Median(AggregationRule):
    """The middle value of each coordinate; withstands fewer than half of the clients."""

    kind: Literal["median"] = "median"
    source: ClassVar[str] = "Yin et al. 2018, arXiv:1803.01498, algorithm 1, option I"
    fails: ClassVar[str] = "a malicious half, lies within the honest spread, and skewed clients"

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """An even number averages the two middles.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        ordered, clients = rows.sort(dim=0).values, len(rows)
        return (ordered[(clients - 1) // 2] + ordered[clients // 2]) / 2
