"""A classifier trained on shadow models' predictions. Shokri et al. 2017, arXiv:1610.05820."""

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
    """Trains a classifier for each class that tells predictions on training examples from others.

    The classifiers are boosted trees on log-probabilities, in place of the paper's small network on
    probabilities.
    """

    kind: Literal["shadow-models"] = "shadow-models"
    title: ClassVar[str] = "Shadow models with a classifier"
    source: ClassVar[str] = "Shokri et al. 2017, arXiv:1610.05820"
    attacker: ClassVar[str] = "anybody who has the released model and trains shadow models"
    knows: ClassVar[str] = "the training recipe, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on training examples"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")
    shadows: int = Field(16, ge=2, le=256, description="number of shadow models")

    def needs(self) -> AttackResources:
        return AttackResources(shadows=self.shadows)

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the log-probability of every class.  -> (candidates, classes) float64"""
        return F.log_softmax(logits_of(view, asked), dim=1)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Return the log-odds of membership by the classifier of the candidate's label.

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
    """Fit to answers (examples, classes), inside (examples,); predict asked (n, classes) -> (n,).

    Where nothing tells the two apart, all are equally likely.
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
