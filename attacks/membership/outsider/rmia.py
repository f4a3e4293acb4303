"""The robust attack. Zarifzadeh et al. 2024, arXiv:2312.03262."""

from __future__ import annotations

from math import log
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import confidence, log_probability, logits_of
from attacks.membership.shared.shadow_gaussians import check
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class Rmia(MembershipInferenceAttack):
    """How much likelier the label is on this model than on average, against other examples.

    Of p(x | model) / p(x), with p(x) the mean probability on reference models.  As published the
    score is the share of the population whose ratio lies gamma times lower at least: that only
    counts what the ratio says, and ties wherever it beats everybody.  So the ratio itself, or
    rather its logarithm, is the score unless `score` asks for the share.
    """

    kind: Literal["rmia"] = "rmia"
    source: ClassVar[str] = "Zarifzadeh et al. 2024, arXiv:2312.03262"
    attacker: ClassVar[str] = "anybody who is given the released model, and trains others like it"
    knows: ClassVar[str] = "the recipe, each candidate with its label; as a share, public examples"
    fails: ClassVar[str] = "models that do as well on new examples as on their own"
    shadows: int = Field(16, ge=2, le=256, description="shadow models that it trains")
    score: Literal["ratio", "quantised"] = Field(
        "ratio", description="the log of the ratio, or the share of the population that it beats"
    )
    references: Literal["all", "outside"] = Field(
        "all", description="models that give p(x): all, or those that were not trained on x"
    )
    correction: float = Field(
        0.3,
        ge=0,
        le=1,
        description="the paper's a: outside models alone give p(x) = ((1 + a) p + (1 - a)) / 2",
    )
    gamma: float = Field(1.0, gt=0, le=100, description="how many times lower others must be")
    population: int = Field(1000, ge=1, le=10_000, description="public examples, if quantised")

    def needs(self) -> AttackResources:
        public = self.population if self.score == "quantised" else 0
        return AttackResources(shadows=self.shadows, public=public)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The logit-scaled confidence log(p / (1 - p)) of each label.  -> (candidates,) float64"""
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """-> (candidates,)  Raises SettingError where there is nothing to compare with."""
        check(evidence, self.kind)
        asked = self._log_ratio(evidence.target, evidence.shadows, evidence.inside)
        if self.score == "ratio":
            return asked
        nobody = torch.zeros_like(evidence.shadows_public, dtype=torch.bool)
        public = self._log_ratio(evidence.target_public, evidence.shadows_public, nobody)
        beaten = torch.searchsorted(public.sort().values, asked - log(self.gamma), right=True)
        return beaten.double() / len(public)

    def _log_ratio(self, target: Tensor, shadows: Tensor, inside: Tensor) -> Tensor:
        """log p(x | model) - log p(x).  target (examples,) -> (examples,)

        Of outside models alone, p(x) is corrected as if those on the other side gave a p + 1 - a;
        without any, all models give it.
        """
        logs, outside = log_probability(shadows.double()), ~inside  # (shadows, examples)
        mean = _log_mean(logs, torch.ones_like(inside))
        if self.references == "outside":
            half = torch.tensor([1 + self.correction, 1 - self.correction]).double().div(2).log()
            corrected = torch.logaddexp(half[0] + _log_mean(logs, outside), half[1])
            mean = corrected.where(outside.any(dim=0), mean)
        return log_probability(target.double()) - mean


def _log_mean(logs: Tensor, chosen: Tensor) -> Tensor:
    """The log of the mean of what `logs` are logs of.  (models, examples) -> (examples,)

    A model that overflowed says nothing.
    """
    chosen = chosen & logs.isfinite()
    return logs.where(chosen, -torch.inf).logsumexp(dim=0) - chosen.sum(dim=0).double().log()
