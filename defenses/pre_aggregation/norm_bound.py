"""Norm bound: no update counts by its length. Sun et al. 2019, arXiv:1911.07963."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from defenses.shared.norms import lengths_of, middle, scaled, shortening
from lab.common.random_streams import normal, random_stream
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort


class NormBound(PreAggregator):
    """Shorten long updates to a bound, so that boosting is no use; then noise, if wanted."""

    kind: Literal["norm-bound"] = "norm-bound"
    source: ClassVar[str] = "Sun et al. 2019, arXiv:1911.07963"
    fails: ClassVar[str] = "lies of usual length, and attackers who have time"
    bound: float = Field(0.0, ge=0, le=1e6, description="longest update; 0: the round's median")
    noise: float = Field(0.0, ge=0, le=10, description="deviation of the step's noise, in bounds")

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """All rows get the same noise: a rule that moves with its rows has that in its step."""
        exact = rows.double()
        lengths = lengths_of(exact)
        bound = self.bound or middle(lengths).detach()
        factors = shortening(lengths, bound)
        drawn = normal(random_stream(cohort.seed, "norm bound", cohort.round), rows.shape[1])
        noisy = scaled(exact, factors) + self.noise * bound * drawn.double()  # (clients, params)
        return PreAggregated(noisy.to(rows.dtype), weights, factors=factors.detach())
