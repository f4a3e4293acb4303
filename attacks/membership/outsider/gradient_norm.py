"""Membership by the norm of the gradient. Nasr et al. 2019, arXiv:1812.00910; without their net."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.interfaces.views import OutsiderView
from lab.models.stacked_gradients import backward, stacked

BLOCK = 128  # examples at once


class GradientNorm(MembershipInferenceAttack):
    """Scores candidates by the norm of the loss gradient, which is smaller for training examples.

    White box: the attack needs the parameters, not only predictions.
    """

    kind: Literal["gradient-norm"] = "gradient-norm"
    title: ClassVar[str] = "Gradient norm"
    source: ClassVar[str] = "Nasr et al. 2019, arXiv:1812.00910"
    attacker: ClassVar[str] = "anybody who has the released model with its parameters"
    knows: ClassVar[str] = "the architecture, and each candidate with its label"
    fails: ClassVar[str] = "models that do as well on new examples as on training examples"
    layers: Literal["all", "first", "last"] = Field(
        "all",
        description=(
            "layers whose gradient is measured: all layers with parameters, or one of them"
        ),
    )

    def signal(self, view: OutsiderView, asked: Candidates) -> Tensor:
        """Return the norm of each candidate's loss gradient by layer.  -> (candidates, layers)

        In float64, where an example with a near-certain prediction still has a gradient.
        """
        stack = stacked(view.network, view.model.double().unsqueeze(0))
        blocks = zip(asked.inputs.split(BLOCK), asked.labels.split(BLOCK), strict=True)
        found = []
        for inputs, labels in blocks:
            back = backward(view.network, stack, inputs.double()[None], labels[None])
            squares = [visit.layer.each(visit.kept, visit.slopes)[0][0] for visit in back]
            found.append(torch.stack(squares[::-1], dim=1).sqrt())
        return torch.cat(found)

    def __call__(self, evidence: MembershipSignals) -> Tensor:
        """Score short gradients high.  -> (candidates,)"""
        lengths = evidence.target
        if self.layers == "all":
            return -lengths.square().sum(dim=1).sqrt()
        return -lengths[:, 0 if self.layers == "first" else -1]
