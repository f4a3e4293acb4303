"""Weighted mean. McMahan et al. 2017, arXiv:1602.05629, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule


class Mean(AggregationRule):
    """The mean of the updates, weighted by the examples each client reports: no defence."""

    kind: Literal["mean"] = "mean"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, algorithm 1"
    fails: ClassVar[str] = "a single malicious client"

    weighted: bool = Field(True, description="by the examples that each client reports")
    cap: float = Field(
        0, ge=0, le=1000, description="no client counts for more than so many medians; 0: no limit"
    )

    @property
    def needs_rows(self) -> bool:
        """Under masks clients weigh their updates themselves, and the server sees no weight."""
        return not self.weighted or bool(self.cap)

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Zero if no client holds any example.  rows (clients, params) -> (params,)"""
        weights = self._counts(weights)
        total = weights.sum()
        shares = (weights / total if total > 0 else weights).to(rows.dtype)  # (clients,)
        return shares @ rows

    def _counts(self, weights: Tensor) -> Tensor:
        """What each client counts for; the median is of those that hold examples.  (clients,)"""
        if not self.weighted:
            return torch.ones_like(weights)
        holding = weights[weights > 0]
        if not self.cap or not len(holding):
            return weights
        return weights.clamp(max=self.cap * float(holding.quantile(0.5)))
