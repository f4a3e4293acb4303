"""RMIA, the robust membership inference attack. Zarifzadeh et al. 2024, arXiv:2312.03262."""

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
    """Compares the label's probability on this model with its mean on reference models.

    The ratio is p(x | model) / p(x), where p(x) is the mean probability on reference models.  As
    published,
    the score is the share of a population of public examples whose ratio is at least gamma times
    lower.
    That share ties wherever the ratio beats everybody.  Therefore the logarithm of the ratio is the
    score, unless `score` asks for the share.
    """

    kind: Literal["rmia"] = "rmia"
    title: ClassVar[str] = "RMIA"
    source: ClassVar[str] = "Zarifzadeh et al. 2024, arXiv:2312.03262"
    attacker: ClassVar[str] = "anybody who has the released model and trains reference models"
    knows: ClassVar[str] = (
        "the training recipe, and each candidate with its label; for the share, public examples"
    )
    fails: ClassVar[str] = "models that do as well on new examples as on training examples"
    shadows: int = Field(
        16, ge=2, le=256, description="number of shadow models, which serve as reference models"
    )
    score: Literal["ratio", "quantised"] = Field(
        "ratio",
        description="the logarithm of the ratio, or the share of the population that it beats",
    )
    references: Literal["all", "outside"] = Field(
        "all", description="reference models that give p(x): all, or only those not trained on x"
    )
    correction: float = Field(
        0.3,
        ge=0,
        le=1,
        description=(
            "the paper's a: corrects p(x) to ((1 + a) p + (1 - a)) / 2 if no reference is trained"
            " on x"
        ),
    )
    gamma: float = Field(
        1.0, gt=0, le=100, description="how many times lower a ratio of the population must be"
    )
    population: int = Field(
        1000,
        ge=1,
        le=10_000,
        description="number of public examples in the population, if the score is the share",
    )

    def needs(self) -> AttackResources:
        public = self.population if self.score == "quantised" else 0
        return AttackResources(shadows=self.shadows, public=public)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return each label's logit-scaled confidence, log(p / (1 - p)).

        -> (candidates,), float64
        """
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Return the scores.  Raises SettingError without public examples to compare with.

        -> (candidates,)
        """
        check(evidence, self.kind)
        asked = self._log_ratio(evidence.target, evidence.shadows, evidence.inside)
        if self.score == "ratio":
            return asked
        nobody = torch.zeros_like(evidence.shadows_public, dtype=torch.bool)
        public = self._log_ratio(evidence.target_public, evidence.shadows_public, nobody)
        beaten = torch.searchsorted(public.sort().values, asked - log(self.gamma), right=True)
        return beaten.double() / len(public)

    def _log_ratio(self, target: Tensor, shadows: Tensor, inside: Tensor) -> Tensor:
        """Return log p(x | model) - log p(x).  target (examples,) -> (examples,)

        With models not trained on x alone, p(x) is corrected as if models trained on x gave a p + 1
        - a;
        where there is none, all models give p(x).
        """
        logs, outside = log_probability(shadows.double()), ~inside  # (shadows, examples)
        mean = _log_mean(logs, torch.ones_like(inside))
        if self.references == "outside":
            half = torch.tensor([1 + self.correction, 1 - self.correction]).double().div(2).log()
            corrected = torch.logaddexp(half[0] + _log_mean(logs, outside), half[1])
            mean = corrected.where(outside.any(dim=0), mean)
        return log_probability(target.double()) - mean


def _log_mean(logs: Tensor, chosen: Tensor) -> Tensor:
    """Return the log of the mean of exp(logs).  (models, examples) -> (examples,)

    A model that overflowed is left out.
    """
    chosen = chosen & logs.isfinite()
    return logs.where(chosen, -torch.inf).logsumexp(dim=0) - chosen.sum(dim=0).double().log()
