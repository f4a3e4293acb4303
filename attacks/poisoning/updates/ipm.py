"""Inner product manipulation. Xie et al. 2020, arXiv:1903.03936."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import honest, told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees


class Ipm(PoisoningAttack):
    """Sends `-scale` times the honest mean; a scale above honest / malicious reverses the mean."""

    kind: Literal["ipm"] = "ipm"
    title: ClassVar[str] = "Inner product manipulation (IPM)"
    source: ClassVar[str] = "Xie et al. 2020, arXiv:1903.03936"
    knows: ClassVar[str] = "the updates of all honest clients"
    scale: float = Field(
        2.0, gt=0, le=100, description="factor on the negated honest mean (epsilon in the paper)"
    )

    @property
    def sees(self) -> Sees:
        return "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        return told(rows, cohort, -self.scale * honest(rows, cohort).mean(dim=0))
