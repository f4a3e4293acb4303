"""An ensemble of LiRA and RMIA by ranks.  Leaklab's own combination of the two.

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
    """Takes the lower of a candidate's two ranks, by shrunk LiRA and by RMIA's ratio.

    The two attacks err on different examples, so a candidate that both rank high is seldom a false
    alarm.
    Each model's own bias, estimated on public examples, is removed first.  The attack is
    transductive:
    ranks are among the candidates queried together, so a score depends on which other candidates
    are
    queried, but never on which of them are members.
    """

    kind: Literal["rank-ensemble"] = "rank-ensemble"
    title: ClassVar[str] = "LiRA and RMIA ensemble"
    source: ClassVar[str] = (
        "Leaklab; of Carlini et al. 2022, arXiv:2112.03570, "
        "and Zarifzadeh et al. 2024, arXiv:2312.03262"
    )
    attacker: ClassVar[str] = "anybody who has the released model and trains shadow models"
    knows: ClassVar[str] = (
        "the training recipe, public examples, and all candidates with their labels at once, "
        "because it ranks them"
    )
    fails: ClassVar[str] = (
        "models that do as well on new examples as on training examples; single candidates"
    )
    shadows: int = Field(16, ge=4, le=256, description="number of shadow models")
    public: int = Field(
        2000,
        ge=0,
        le=5000,
        description="number of public examples that show each model's own bias; 0: none",
    )

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows, public=self.public)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return each label's logit-scaled confidence, log(p / (1 - p)).

        -> (candidates,), float64
        """
        return confidence(logits_of(view, asked), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Return the lower of two ranks, as a share of all candidates.  -> (candidates,)"""
        level = levelled(evidence) if self.public else evidence
        scores = LiraOnline()(level), Rmia()(level)
        return torch.stack([_ranks(each) for each in scores]).amin(dim=0) / len(evidence.target)


def _ranks(scores: Tensor) -> Tensor:
    """Return ranks from 1; ties share their mean; NaN ranks last.  (n,) -> (n,)"""
    from scipy.stats import rankdata

    return torch.from_numpy(rankdata(scores.nan_to_num(nan=-torch.inf).numpy()))
