"""Divide and conquer: drops outliers of the top direction. Shejwalkar, Houmansadr 2021, NDSS."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from defenses.shared.norms import blended
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)

LIMIT = Breakdown(2, 1)


class DivideAndConquer(AggregationRule):
    """Drops the updates furthest out along the direction of most variance; averages the rest."""

    kind: Literal["dnc"] = "dnc"
    title: ClassVar[str] = "Divide and conquer (DnC)"
    source: ClassVar[str] = "Shejwalkar and Houmansadr 2021, NDSS, algorithm 2"
    fails: ClassVar[str] = (
        "more malicious clients than it assumes, and malicious updates without a common direction"
    )
    faulty: int = Field(
        1, ge=0, le=499, description="number of malicious clients assumed in a round"
    )
    rounds: int = Field(
        1, ge=1, le=20, description="number of filtering passes, each on other random coordinates"
    )
    coordinates: int = Field(
        10_000, ge=1, le=1_000_000, description="number of random coordinates in each pass"
    )
    share: float = Field(
        1.0, gt=0, le=2, description="clients dropped in each pass, as a multiple of `faulty`"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights; returns zero if nobody is left.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        kept = self._kept(rows, aid)
        return blended(rows, kept / kept.sum().clamp_min(1))

    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        return AggregationDecision.of(self._kept(rows, aid))

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)

    @torch.no_grad()
    def _kept(self, rows: Tensor, aid: AggregationContext) -> Tensor:
        """Mark clients that no pass dropped.  rows (clients, params) -> (clients,) bool"""
        kept = torch.ones(len(rows), dtype=torch.bool)
        dropped = int(self.share * self.faulty + 1e-9)  # rounding must not make a 2 of 3
        draws, count = aid.stream(self.kind), min(self.coordinates, rows.shape[1])
        for _ in range(self.rounds if dropped else 0):
            chosen = torch.from_numpy(draws.choice(rows.shape[1], count, replace=False))
            scores = _outlying(rows[:, chosen].double())  # (clients,)
            kept[scores.argsort(descending=True, stable=True)[:dropped]] = False
        return kept


def _outlying(rows: Tensor) -> Tensor:
    """Return squared projections on the top right singular vector of the centred rows.

    They are the squares of the top left singular vector, up to a factor; the small matrix of inner
    products gives it.  rows (clients, coordinates) -> (clients,)
    """
    centred = rows - rows.mean(dim=0)
    top: Tensor = torch.linalg.eigh(centred @ centred.T).eigenvectors[:, -1]
    return top.square()
