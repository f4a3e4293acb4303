"""LiRA without training on candidates. Carlini et al. 2022, arXiv:2112.03570."""

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
    """How far the confidence is above that of models that never saw the example.

    One-sided, as the paper has it: a confidence far below is no sign of membership, for which the
    released code, two-sided, takes it.  The score is the distance in deviations: the published
    probability grows with it, but rounds to 1 where members stand out most.
    """

    kind: Literal["lira-offline"] = "lira-offline"
    source: ClassVar[str] = "Carlini et al. 2022, arXiv:2112.03570"
    attacker: ClassVar[str] = "anybody who is given the released model, and trains others like it"
    knows: ClassVar[str] = "the recipe, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on their own; few shadows"
    shadows: int = Field(
        16, ge=4, le=256, description="shadow models that it trains; half of them count for each"
    )
    variance: Variance = Field(
        "shrunk", description="of each example alone, of all together, or drawn to that of its like"
    )
    centre: Centre = Field(
        "median", description="of per-example Gaussians: as in its authors' code, or their paper"
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The logit-scaled confidence log(p / (1 - p)) of each label.  -> (candidates,) float64"""
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Deviations above the models that were not trained on it.  -> (candidates,)"""
        outside = outsider(evidence, self.kind, self.variance, self.centre)
        return outside.standing(evidence.target)
