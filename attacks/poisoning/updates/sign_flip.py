"""Sign flipping: sends a negated update. Li et al. 2019, arXiv:1811.03761, section 5."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import honest, told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees


class SignFlip(PoisoningAttack):
    """Trains honestly, then sends `-scale` times its own update or the honest mean."""

    kind: Literal["sign-flip"] = "sign-flip"
    title: ClassVar[str] = "Sign flipping"
    source: ClassVar[str] = "Li et al. 2019, arXiv:1811.03761, section 5"
    knows: ClassVar[str] = "its own update; for the mean, the updates of all honest clients"
    scale: float = Field(3.0, gt=0, le=100, description="factor on the negated update")
    # own: Li et al., and blades, which turns every local gradient round.  mean: ByzFL.
    reading: Literal["own", "mean"] = Field(
        "own", description="the update that is negated: the client's own, or the honest mean"
    )

    @property
    def sees(self) -> Sees:
        return "nothing" if self.reading == "own" else "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        among = rows if self.reading == "own" else honest(rows, cohort).mean(dim=0)
        return told(rows, cohort, -self.scale * among)
