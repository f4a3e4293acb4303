"""Targeted label flipping. Tolpegin et al. 2020, arXiv:2007.08432, section 3."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.backdoors.shared.trigger import check_class
from lab.common.settings import SettingError
from lab.interfaces.poisoning import ALONE, DataPoisoningContext, PoisoningAttack
from lab.models.layers import Shape


class TargetedFlip(PoisoningAttack):
    """Trains on wrong labels for one class: examples of `origin` are labelled `target`."""

    kind: Literal["targeted-flip"] = "targeted-flip"
    title: ClassVar[str] = "Targeted label flipping"
    source: ClassVar[str] = "Tolpegin et al. 2020, arXiv:2007.08432, section 3"
    knows: ClassVar[str] = "its own data"
    origin: int = Field(1, ge=0, le=999, description="the class whose examples get a wrong label")
    target: int = Field(0, ge=0, le=999, description="the wrong label that they get")

    def check(self, shape: Shape, classes: int) -> None:
        check_class("origin", self.origin, classes)
        check_class("target", self.target, classes)
        if self.origin == self.target:
            raise SettingError(
                f"adversary.attack.target is {self.target}, and so is origin: nothing would be "
                "flipped; give another class"
            )

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return inputs, torch.where(labels == self.origin, self.target, labels)

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return test examples of `origin` with the wanted label `target`."""
        meant = labels == self.origin
        return inputs[meant], torch.full_like(labels[meant], self.target)
