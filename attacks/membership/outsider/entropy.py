"""Membership by the confidence of predictions.

Salem et al. 2019, arXiv:1806.01246; Song and Mittal 2021, arXiv:2003.10595.2.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.membership.shared.confidence import confidence, log_complements, logits_of
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class Entropy(MembershipInferenceAttack):
    """Scores candidates by the entropy of the prediction, which is lower for training examples."""

    kind: Literal["entropy"] = "entropy"
    title: ClassVar[str] = "Prediction entropy"
    source: ClassVar[str] = (
        "Salem et al. 2019, arXiv:1806.01246; Song, Mittal 2021, arXiv:2003.10595"
    )
    attacker: ClassVar[str] = "anybody who has the released model"
    knows: ClassVar[str] = (
        "the architecture, and each candidate; its label only for the modified entropy"
    )
    fails: ClassVar[str] = (
        "models that are as confident on new examples; confident mistakes, unless the entropy"
        " is modified"
    )
    measure: Literal["confidence", "entropy", "modified"] = Field(
        "modified",
        description=(
            "uncertainty of the likeliest class, entropy of all classes, or entropy modified by "
            "the label"
        ),
    )

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the model's uncertainty on each candidate.  -> (candidates,) float64"""
        logits = logits_of(view, asked)
        if self.measure == "confidence":
            return -confidence(logits, logits.argmax(dim=1))
        logs = F.log_softmax(logits, dim=1)  # (candidates, classes)
        if self.measure == "entropy":
            return -(logs.exp() * logs).sum(dim=1)
        return modified_entropy(logs, log_complements(logits), asked.labels)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Score low uncertainty high.  -> (candidates,)"""
        return -evidence.target


def modified_entropy(logs: Tensor, complements: Tensor, labels: Tensor) -> Tensor:
    """Return -(1 - p_y) log p_y - sum over the other classes of p_i log(1 - p_i).

    logs of p, complements log(1 - p) (examples, classes), labels (examples,) -> (examples,)
    """
    places = labels.unsqueeze(1)
    of_label = complements.gather(1, places).exp() * logs.gather(1, places)
    of_others = (logs.exp() * complements).scatter(1, places, 0)
    return -(of_label.squeeze(1) + of_others.sum(dim=1))
