"""The likelihood-ratio attack. Carlini et al. 2022, arXiv:2112.03570, algorithm 1."""

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
    """Whether the confidence is likelier of models that saw the example or of others.

    One Gaussian a side and example, fitted to shadow models.  The variance is each example's own,
    as published; or one for all; or drawn to that of examples as hard, which needs fewer models.
    """

    kind: Literal["lira-online"] = "lira-online"
    source: ClassVar[str] = "Carlini et al. 2022, arXiv:2112.03570, algorithm 1"
    attacker: ClassVar[str] = "anybody who is given the released model, and trains others like it"
    knows: ClassVar[str] = "the recipe, and each candidate with its label before it trains shadows"
    fails: ClassVar[str] = "models that do as well on new examples as on their own; few shadows"
    shadows: int = Field(16, ge=4, le=256, description="shadow models that it trains")
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
        """The log-likelihood ratio.  -> (candidates,)"""
        inside, outside = both(evidence, self.kind, self.variance, self.centre)
        return inside.log_density(evidence.target) - outside.log_density(evidence.target)
