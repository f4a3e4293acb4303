"""LiRA, the likelihood-ratio attack. Carlini et al. 2022, arXiv:2112.03570, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import confidence, logits_of
from attacks.membership.shared.shadow_gaussians import Centre, Variance, both
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class LiraOnline(MembershipInferenceAttack):
    """Compares the likelihood of an example's confidence under shadow models with and without it.

    Each example has two Gaussians, fitted to the shadow models trained with it and without it.  The
    variance is each example's own, as published; or one for all; or shrunk towards examples of
    similar
    difficulty, which needs fewer models.
    """

    kind: Literal["lira-online"] = "lira-online"
    title: ClassVar[str] = "LiRA (online)"
    source: ClassVar[str] = "Carlini et al. 2022, arXiv:2112.03570, algorithm 1"
    attacker: ClassVar[str] = "anybody who has the released model and trains shadow models"
    knows: ClassVar[str] = (
        "the training recipe, and each candidate with its label before it trains shadow models"
    )
    fails: ClassVar[str] = (
        "models that do as well on new examples as on training examples; few shadow models"
    )
    shadows: int = Field(16, ge=4, le=256, description="number of shadow models")
    variance: Variance = Field(
        "shrunk",
        description=(
            "variance of the Gaussians: one for each example, one for all, or shrunk towards "
            "similar examples"
        ),
    )
    centre: Centre = Field(
        "median",
        description=(
            "centre of Gaussians with a variance of their own: as in the authors' code, or in the"
            " paper"
        ),
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return each label's logit-scaled confidence, log(p / (1 - p)).

        -> (candidates,), float64
        """
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Return the log-likelihood ratio.  -> (candidates,)"""
        inside, outside = both(evidence, self.kind, self.variance, self.centre)
        return inside.log_density(evidence.target) - outside.log_density(evidence.target)
