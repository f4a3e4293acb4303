"""A learned attack on what shadow models answer. Shokri et al. 2017, arXiv:1610.05820."""

from __future__ import annotations

from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import logits_of
from attacks.membership.shared.shadow_gaussians import check
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import AttackResources, MembershipInferenceAttack
from lab.interfaces.views import OutsiderView
from lab.models.architectures import Modality

LOWEST = -50.0  # log-probabilities below are all alike
MOST = 20_000  # answers a class that the attack is fitted to


class ShadowModels(MembershipInferenceAttack):
    """For each class a classifier learns how answers for training examples look from others'.

    Boosted trees on log-probabilities, in place of the paper's small net on probabilities.
    """

    kind: Literal["shadow-models"] = "shadow-models"
    source: ClassVar[str] = "Shokri et al. 2017, arXiv:1610.05820"
    attacker: ClassVar[str] = "anybody who is given the released model, and trains others like it"
    knows: ClassVar[str] = "the recipe, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on their own"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")
    shadows: int = Field(16, ge=2, le=256, description="shadow models that it trains")

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """The log-probability of every class.  -> (candidates, classes) float64"""
        return F.log_softmax(logits_of(view, asked), dim=1)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """How sure the classifier of its label is that the candidate is a member, as log-odds.

        -> (candidates,)
        """
        check(evidence, self.kind)
        labels, scores = evidence.candidates.labels, torch.zeros(len(evidence.target)).double()
        for label in labels.unique():
            own = labels == label
            answers = evidence.shadows[:, own].flatten(0, 1)
            inside = evidence.inside[:, own].flatten()
            scores[own] = _odds(answers, inside, evidence.target[own])
        return scores


def _odds(answers: Tensor, inside: Tensor, asked: Tensor) -> Tensor:
    """Fitted to answers (examples, classes) and inside (examples,); of asked (n, classes) -> (n,)

    Where nothing tells the two apart, all are as likely.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier

    known = answers.isfinite().all(dim=1)
    chosen = np.random.default_rng(0).permutation(known.nonzero().flatten().numpy())[:MOST]
    truth = inside.numpy()[chosen]
    if len(np.unique(truth)) < 2:
        return asked.new_zeros(len(asked))
    trees = HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=15, early_stopping=False, random_state=0
    )
    trees.fit(answers.clamp_min(LOWEST).numpy()[chosen], truth)
    return torch.from_numpy(trees.decision_function(asked.clamp_min(LOWEST).numpy()))
