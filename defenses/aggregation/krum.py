"""Krum. Blanchard et al. 2017, NeurIPS 30, section 4."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from defenses.shared.distances import gaps
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)

Neighbours = Literal["paper", "one-more"]
LIMIT = Breakdown(2, 3)


class Krum(AggregationRule):
    """Selects the update closest to its neighbours; tolerates `faulty` of 2 faulty + 3 clients."""

    kind: Literal["krum"] = "krum"
    title: ClassVar[str] = "Krum"
    source: ClassVar[str] = "Blanchard et al. 2017, NeurIPS 30, section 4"
    fails: ClassVar[str] = (
        "skewed clients, because it uses one update only, and malicious updates close to each other"
    )
    faulty: int = Field(
        1, ge=0, le=498, description="number of malicious clients assumed in a round"
    )
    neighbours: Neighbours = Field(
        "paper",
        description="neighbours in a score: clients - faulty - 2 (paper), or one more as in ByzFL",
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights.  rows (clients, params) -> (params,)"""
        return rows[self._best(rows)].clone()

    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        return AggregationDecision.of(among(len(rows), [self._best(rows)]))

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)

    def _best(self, rows: Tensor) -> int:
        self.check(len(rows))
        return ranked(gaps(rows), counted(self.neighbours, len(rows), self.faulty))[0]


def counted(neighbours: Neighbours, clients: int, faulty: int) -> int:
    """Return the number of neighbours in a score."""
    return clients - faulty - (2 if neighbours == "paper" else 1)


def ranked(between: Tensor, neighbours: int) -> list[int]:
    """Rank all rows from the lowest score to the highest.  between (rows, rows) -> places

    The score is the sum of the squared distances to the nearest `neighbours` others.  With one
    neighbour, two rows that are each other's nearest tie: the next nearest decides, then the place.
    """
    others = between.clone().fill_diagonal_(torch.inf).sort(dim=1).values
    scores = others[:, :neighbours].sum(dim=1, keepdim=True)  # (rows, 1)
    keys = torch.cat([scores, others[:, neighbours:]], dim=1).tolist()
    return sorted(range(len(keys)), key=keys.__getitem__)


def among(rows: int, places: list[int]) -> Tensor:
    """Mark the rows at those places.  -> (rows,) bool"""
    return torch.zeros(rows, dtype=torch.bool).index_fill(0, torch.tensor(places), True)
