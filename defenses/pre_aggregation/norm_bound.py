"""Norm bounding: limits the norm of every update. Sun et al. 2019, arXiv:1911.07963."""

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
    """Clips long updates to a bound, which defeats boosting, and adds noise on request."""

    kind: Literal["norm-bound"] = "norm-bound"
    title: ClassVar[str] = "Norm bounding"
    source: ClassVar[str] = "Sun et al. 2019, arXiv:1911.07963"
    fails: ClassVar[str] = "malicious updates of ordinary norm, and attackers with many rounds"
    bound: float = Field(
        0.0, ge=0, le=1e6, description="largest norm of an update; 0: the round's median norm"
    )
    noise: float = Field(
        0.0,
        ge=0,
        le=10,
        description="standard deviation of the noise on the step, as a multiple of the bound",
    )

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """Clip the rows and add the same noise to all of them.

        The step of a rule that moves with its rows then contains that noise.
        """
        exact = rows.double()
        lengths = lengths_of(exact)
        bound = self.bound or middle(lengths).detach()
        factors = shortening(lengths, bound)
        drawn = normal(random_stream(cohort.seed, "norm bound", cohort.round), rows.shape[1])
        noisy = scaled(exact, factors) + self.noise * bound * drawn.double()  # (clients, params)
        return PreAggregated(noisy.to(rows.dtype), weights, factors=factors.detach())
