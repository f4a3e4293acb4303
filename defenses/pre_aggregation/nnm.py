"""Nearest-neighbour mixing. Allouah et al. 2023, AISTATS, arXiv:2302.01772."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from defenses.shared.distances import gaps
from defenses.shared.norms import blended
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort

LIMIT = Breakdown(2, 1)


class NearestNeighbours(PreAggregator):
    """Replaces each update by the mean of itself and its nearest neighbours."""

    kind: Literal["nnm"] = "nnm"
    title: ClassVar[str] = "Nearest-neighbour mixing (NNM)"
    source: ClassVar[str] = "Allouah et al. 2023, AISTATS, arXiv:2302.01772"
    fails: ClassVar[str] = (
        "more malicious clients than it assumes, and honest clients unlike all others"
    )
    faulty: int = Field(
        1, ge=0, le=499, description="number of updates left out of each mean, the farthest ones"
    )

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """Mix without weights; each mixed row keeps the weight of its client for the rule."""
        self.check(len(rows))
        return PreAggregated(blended(rows, self._shares(rows)), weights)

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, rows: int) -> None:
        LIMIT.check(self.kind, self.faulty, rows, f"stages, kind {self.kind}: faulty")

    def _shares(self, rows: Tensor) -> Tensor:
        """Return each row's share in each mean.  rows (clients, params) -> (clients, clients)"""
        count = len(rows) - self.faulty
        between = gaps(rows)
        nearest = between.argsort(dim=1, stable=True)[:, :count]  # (clients, count)
        return torch.zeros_like(between).scatter(1, nearest, 1 / count)
