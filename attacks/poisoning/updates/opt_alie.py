"""A little is enough, with z optimised against the rule. Allouah et al. 2023, arXiv:2302.01772."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.line_search import most_harmful
from attacks.poisoning.shared.malicious_updates import deviation, honest
from attacks.poisoning.updates.alie import tolerated
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees

FIXED = 1.5  # ByzFL's z where it tries nothing out


class OptAlie(PoisoningAttack):
    """Shifts the honest mean by the number of standard deviations that harms the rule most.

    Harm is the distance of the step from the honest mean.  An unknown rule counts as the plain
    mean.
    """

    kind: Literal["opt-alie"] = "opt-alie"
    title: ClassVar[str] = "Optimised ALIE"
    source: ClassVar[str] = "Allouah et al. 2023, arXiv:2302.01772; Baruch et al. 2019"
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
        among = honest(rows, cohort)
        mean, spread = among.mean(dim=0), deviation(among)
        formula = tolerated(len(rows), int(cohort.malicious.sum()))
        known = (FIXED, formula) if formula else (FIXED,)

        def line(z: float) -> Tensor:
            return mean + z * spread

        return most_harmful(rows, cohort, insight, line, known, self.evaluations)
