"""Weighted mean. McMahan et al. 2017, arXiv:1602.05629, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule


class Mean(AggregationRule):
    """Averages the updates, weighted by the examples each client reports; it is no defence."""

    kind: Literal["mean"] = "mean"
    title: ClassVar[str] = "Weighted mean"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, algorithm 1"
    fails: ClassVar[str] = "a single malicious client"

    weighted: bool = Field(
        True, description="weight each client by the number of examples that it reports"
    )
    cap: float = Field(
        0,
        ge=0,
        le=1000,
        description="cap on a client's weight, in multiples of the median weight; 0: no cap",
    )

    @property
    def needs_rows(self) -> bool:
        """Return False where masked sums suffice: clients then weight their updates themselves."""
        return not self.weighted or bool(self.cap)

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Returns zero if no client holds any example.  rows (clients, params) -> (params,)"""
        weights = self._counts(weights)
        total = weights.sum()
        shares = (weights / total if total > 0 else weights).to(rows.dtype)  # (clients,)
        return shares @ rows

    def _counts(self, weights: Tensor) -> Tensor:
        """Return each client's weight; the median is of those that hold examples.  (clients,)"""
        if not self.weighted:
            return torch.ones_like(weights)
        holding = weights[weights > 0]
        if not self.cap or not len(holding):
            return weights
        return weights.clamp(max=self.cap * float(holding.quantile(0.5)))
