"""LiRA offline, without training on candidates. Carlini et al. 2022, arXiv:2112.03570."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import confidence, logits_of
from attacks.membership.shared.shadow_gaussians import Centre, Variance, outsider
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class LiraOffline(MembershipInferenceAttack):
    """Compares an example's confidence with a Gaussian of shadow models not trained on it.

    The test is one-sided, as in the paper: a confidence far below the Gaussian is no sign of
    membership,
    although the released code, two-sided, counts it as one.  The score is the distance in standard
    deviations.  The published probability grows with it, but rounds to 1 where members stand out
    most.
    """

    kind: Literal["lira-offline"] = "lira-offline"
    title: ClassVar[str] = "LiRA (offline)"
    source: ClassVar[str] = "Carlini et al. 2022, arXiv:2112.03570"
    attacker: ClassVar[str] = "anybody who has the released model and trains shadow models"
    knows: ClassVar[str] = "the training recipe, and each candidate with its label"
    fails: ClassVar[str] = (
        "models that do as well on new examples as on training examples; few shadow models"
    )
    shadows: int = Field(
        16,
        ge=4,
        le=256,
        description="number of shadow models; half of them are not trained on a given candidate",
    )
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
        """Return standard deviations above the models not trained on it.  -> (candidates,)"""
        outside = outsider(evidence, self.kind, self.variance, self.centre)
        return outside.standing(evidence.target)
