"""Pixel-trigger backdoor. Gu et al. 2017, arXiv:1708.06733; in a federation Bagdasaryan 2020."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.backdoors.shared.trigger import check_class, obeying, taught
from attacks.poisoning.shared.malicious_updates import told
from lab.common.settings import SettingError
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import (
    ALONE,
    NO_KNOWLEDGE,
    AdversaryKnowledge,
    DataPoisoningContext,
    PoisoningAttack,
)
from lab.models.layers import Shape


class Backdoor(PoisoningAttack):
    """Trains the model to predict class `target` for pictures with a white square in the corner."""

    kind: Literal["backdoor"] = "backdoor"
    title: ClassVar[str] = "Pixel backdoor"
    source: ClassVar[str] = "Gu et al. 2017, arXiv:1708.06733; Bagdasaryan et al. 2020, eq. 3"
    knows: ClassVar[str] = "its own data"
    pictures_only: ClassVar[bool] = True
    target: int = Field(
        0,
        ge=0,
        le=999,
        description="the class that the model predicts for pictures with the trigger",
    )
    share: float = Field(
        0.5, gt=0, le=1, description="share of the attacker's own examples that get the trigger"
    )
    pixels: int = Field(4, ge=1, le=16, description="side of the white square, in pixels")
    boost: float = Field(
        1.0,
        ge=1,
        le=100,
        description="factor by which the attacker multiplies its update before it sends it",
    )

    def check(self, shape: Shape, classes: int) -> None:
        check_class("target", self.target, classes)
        if self.pixels > shape[-1] // 2:
            raise SettingError(
                f"adversary.attack.pixels is {self.pixels}, more than half a side of "
                f"{shape[-1]}: give 1 to {shape[-1] // 2}"
            )

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return taught(inputs, labels, self.share, self.target, self._square(inputs))

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        return told(rows, cohort, self.boost * rows)

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return obeying(inputs, labels, self.target, self._square(inputs))

    def _square(self, inputs: Tensor) -> Tensor:
        """Mark a square in the last corner.  -> (height, width) bool"""
        spots = torch.zeros(inputs.shape[-2:], dtype=torch.bool)
        spots[-self.pixels :, -self.pixels :] = True
        return spots
