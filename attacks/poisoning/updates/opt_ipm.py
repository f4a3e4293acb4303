"""Inner product manipulation, optimised against the rule. Allouah et al. 2023, arXiv:2302.01772."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.line_search import most_harmful
from attacks.poisoning.shared.malicious_updates import honest
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees

FIXED = 2.0  # ByzFL's epsilon where it tries nothing out


class OptIpm(PoisoningAttack):
    """Sends the honest mean times the negative factor that harms the rule most.

    Harm is the distance of the step from the honest mean.  An unknown rule counts as the plain
    mean.
    """

    kind: Literal["opt-ipm"] = "opt-ipm"
    title: ClassVar[str] = "Optimised IPM"
    source: ClassVar[str] = "Allouah et al. 2023, arXiv:2302.01772; Xie et al. 2020"
    knows: ClassVar[str] = "the updates of all honest clients, and the rule"
    evaluations: int = Field(
        20, ge=2, le=100, description="number of factors that the attack tries out"
    )

    @property
    def sees(self) -> Sees:
        return "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        mean = honest(rows, cohort).mean(dim=0)

        def line(scale: float) -> Tensor:
            return -scale * mean

        return most_harmful(rows, cohort, insight, line, (FIXED,), self.evaluations)
