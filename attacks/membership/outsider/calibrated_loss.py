"""Loss calibrated by an example's difficulty. Watson et al. 2022, arXiv:2111.08440."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import cross_entropy, logits_of
from attacks.membership.shared.shadow_gaussians import sides
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class CalibratedLoss(MembershipInferenceAttack):
    """Compares an example's loss with the mean loss of shadow models not trained on it.

    A low loss says little about an easy example and much about a hard one.
    """

    kind: Literal["calibrated-loss"] = "calibrated-loss"
    title: ClassVar[str] = "Calibrated loss"
    source: ClassVar[str] = "Watson et al. 2022, arXiv:2111.08440"
    attacker: ClassVar[str] = "anybody who has the released model and trains shadow models"
    knows: ClassVar[str] = "the training recipe, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on training examples"
    shadows: int = Field(
        16,
        ge=2,
        le=256,
        description="number of shadow models; half of them are not trained on a given candidate",
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the cross-entropy of each candidate.  -> (candidates,) float64"""
        return cross_entropy(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Return the mean loss of models not trained on it, minus the loss.  -> (candidates,)

        Where there is no such model, the average candidate's difficulty replaces it.
        """
        _, outside = sides(evidence, self.kind)
        usual = outside.mean.nanmean()
        return outside.mean.where(outside.count > 0, usual) - evidence.target
