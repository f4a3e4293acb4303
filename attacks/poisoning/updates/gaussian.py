"""Gaussian noise in place of an update. Blanchard et al. 2017, NeurIPS 30: Gaussian Byzantine."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import each_told
from lab.common.random_streams import normal
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack


class Gaussian(PoisoningAttack):
    """Sends Gaussian noise instead of an update; every client draws it anew in every round."""

    kind: Literal["gaussian"] = "gaussian"
    title: ClassVar[str] = "Gaussian noise"
    source: ClassVar[str] = "Blanchard et al. 2017, NeurIPS 30; 0 and 1 as in ByzFL"
    knows: ClassVar[str] = "how many parameters the model has"
    mean: float = Field(0.0, ge=-1000, le=1000, description="mean of each coordinate of the noise")
    deviation: float = Field(
        1.0, gt=0, le=1000, description="standard deviation of each coordinate of the noise"
    )

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        def lie(client: int) -> Tensor:
            draws = normal(cohort.stream(client, "gaussian"), rows.shape[1])
            return self.mean + self.deviation * draws

        return each_told(rows, cohort, lie)
