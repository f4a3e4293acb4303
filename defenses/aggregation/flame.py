"""FLAME: clusters by direction, clips to the median, adds noise. Nguyen et al. 2022, USENIX Sec.

The paper compares whole models.  A rule sees updates, so the angles here are between updates.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.norms import blended, cosines_of, lengths_of, middle, shortening
from lab.common.random_streams import normal
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)


class Flame(AggregationRule):
    """Keeps the tightest majority of update directions, clips to the median norm and adds noise."""

    kind: Literal["flame"] = "flame"
    title: ClassVar[str] = "FLAME"
    source: ClassVar[str] = "Nguyen et al. 2022, USENIX Security, algorithm 1"
    fails: ClassVar[str] = (
        "clients so skewed that no majority shares a direction, and malicious updates that "
        "point with the majority"
    )
    noise: float = Field(
        1e-3,
        ge=0,
        le=1,
        description="standard deviation of the noise, as a multiple of the median norm",
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        exact = rows.double()
        admitted, factors, bound = self._filtered(exact)
        drawn = normal(aid.stream(self.kind), rows.shape[1]).double()  # (params,)
        step = blended(exact, factors * admitted / admitted.sum())
        return (step + self.noise * bound * drawn).to(rows.dtype)

    @torch.no_grad()
    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        admitted, factors, _ = self._filtered(rows.double())
        return AggregationDecision(admitted, factors)

    def fewest(self) -> int:
        return 3

    def _filtered(self, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the clients kept, each row's clipping factor (clients,), and the median norm."""
        lengths = lengths_of(rows)
        bound = middle(lengths).detach()
        return _majority(rows.detach()), shortening(lengths, bound), bound


def _majority(rows: Tensor) -> Tensor:
    """Find the tightest cluster of more than half of the clients, at most all of them.

    rows (clients, params) -> (clients,) bool
    """
    from sklearn.cluster import HDBSCAN  # slow to import

    gaps = (1 - cosines_of(rows)).fill_diagonal_(0)  # (clients, clients)
    clusters = HDBSCAN(
        min_cluster_size=len(rows) // 2 + 1,
        min_samples=1,
        metric="precomputed",
        allow_single_cluster=True,
        copy=True,
    )
    return torch.from_numpy(clusters.fit_predict(gaps.numpy())) >= 0
