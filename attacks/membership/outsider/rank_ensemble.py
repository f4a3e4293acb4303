"""LiRA and RMIA together: what both find suspicious.  Our own combination of the two.

Carlini et al. 2022, arXiv:2112.03570; Zarifzadeh et al. 2024, arXiv:2312.03262.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.membership.outsider.lira_online import LiraOnline
from attacks.membership.outsider.rmia import Rmia
from attacks.membership.shared.confidence import confidence, logits_of
from attacks.membership.shared.public_calibration import levelled
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class RankEnsemble(MembershipInferenceAttack):
    """The lower of a candidate's two ranks, by shrunk LiRA and by RMIA's ratio.

    The two err on different examples, so what both rank high is seldom a false alarm.  Before, each
    model's lean is taken away, as public examples show it.  Transductive: ranks are among the
    candidates asked about together, so a score depends on who else is asked, though never on who of
    them is a member.
    """

    kind: Literal["rank-ensemble"] = "rank-ensemble"
    source: ClassVar[str] = (
        "Leaklab; of Carlini et al. 2022, arXiv:2112.03570, "
        "and Zarifzadeh et al. 2024, arXiv:2312.03262"
    )
    attacker: ClassVar[str] = "anybody who is given the released model, and trains others like it"
    knows: ClassVar[str] = (
        "the recipe, public examples, and all candidates with their labels at once: it ranks them"
    )
    fails: ClassVar[str] = "models that do as well on new examples as on their own; lone candidates"
    shadows: int = Field(16, ge=4, le=256, description="shadow models that it trains")
    public: int = Field(
        2000, ge=0, le=5000, description="public examples that show each model's lean; 0: none"
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows, public=self.public)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The logit-scaled confidence log(p / (1 - p)) of each label.  -> (candidates,) float64"""
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """The lower of two ranks, as a share of all candidates.  -> (candidates,)"""
        level = levelled(evidence) if self.public else evidence
        scores = LiraOnline()(level), Rmia()(level)
        return torch.stack([_ranks(each) for each in scores]).amin(dim=0) / len(evidence.target)


def _ranks(scores: Tensor) -> Tensor:
    """From 1, those that tie share the mean.  What is no number ranks last.  (n,) -> (n,)"""
    from scipy.stats import rankdata

    return torch.from_numpy(rankdata(scores.nan_to_num(nan=-torch.inf).numpy()))
