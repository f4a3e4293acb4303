"""Loss against its difficulty. Watson et al. 2022, arXiv:2111.08440."""

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
    """By how much the loss is lower than that of models that never saw the example.

    A low loss says little of an easy example and much of a hard one.
    """

    kind: Literal["calibrated-loss"] = "calibrated-loss"
    source: ClassVar[str] = "Watson et al. 2022, arXiv:2111.08440"
    attacker: ClassVar[str] = "anybody who is given the released model, and trains others like it"
    knows: ClassVar[str] = "the recipe, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on their own"
    shadows: int = Field(
        16, ge=2, le=256, description="shadow models that it trains; half of them count for each"
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The cross-entropy of each candidate.  -> (candidates,) float64"""
        return cross_entropy(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """The mean loss of models that were not trained on it, less the loss.  -> (candidates,)

        Where there is no such model, the average candidate's difficulty stands in.
        """
        _, outside = sides(evidence, self.kind)
        usual = outside.mean.nanmean()
        return outside.mean.where(outside.count > 0, usual) - evidence.target
