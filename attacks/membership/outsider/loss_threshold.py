"""Membership by the loss. Yeom et al. 2018, arXiv:1709.01604, section 3.2."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.interfaces.views import OutsiderView


class LossThreshold(MembershipInferenceAttack):
    """Scores candidates by the model's loss, which is lower for training examples."""

    kind: Literal["loss-threshold"] = "loss-threshold"
    title: ClassVar[str] = "Loss threshold"
    source: ClassVar[str] = "Yeom et al. 2018, arXiv:1709.01604, section 3.2"
    attacker: ClassVar[str] = "anybody who has the released model"
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on training examples"

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the cross-entropy of each candidate.  -> (candidates,)"""
        pairs = zip(asked.inputs.split(1024), asked.labels.split(1024), strict=True)
        with torch.no_grad():
            losses = [
                F.cross_entropy(view.network(view.model, inputs), labels, reduction="none")
                for inputs, labels in pairs
            ]
        return torch.cat(losses)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Score low losses high.  -> (candidates,)"""
        return -evidence.target
