"""Distributed backdoor, DBA. Xie et al. 2020, ICLR, openreview rkgyS0VFvr, section 2."""

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

BARS = 4
GAP = 2  # pixels between bars, across and down: the paper's trigger gap


class Dba(PoisoningAttack):
    """Splits a trigger of four white bars among attackers; the whole trigger causes `target`."""

    kind: Literal["dba"] = "dba"
    title: ClassVar[str] = "Distributed backdoor (DBA)"
    source: ClassVar[str] = "Xie et al. 2020, ICLR, openreview rkgyS0VFvr, section 2"
    knows: ClassVar[str] = "its own data, and which part of the trigger it trains with"
    pictures_only: ClassVar[bool] = True
    target: int = Field(
        0,
        ge=0,
        le=999,
        description="the class that the model predicts for pictures with the whole trigger",
    )
    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the attacker's own examples that get its part of the trigger",
    )
    parts: int = Field(
        4, ge=1, le=BARS, description="number of parts into which the four bars are split"
    )
    pixels: int = Field(3, ge=1, le=16, description="length of a white bar, in pixels")
    boost: float = Field(
        1.0,
        ge=1,
        le=100,
        description="factor by which the attacker multiplies its update before it sends it",
    )

    def check(self, shape: Shape, classes: int) -> None:
        check_class("target", self.target, classes)
        most = (min(shape[-2:]) - GAP) // 2
        if self.pixels > most:
            raise SettingError(
                f"adversary.attack.pixels is {self.pixels}, too long for two bars and a gap of "
                f"{GAP} in a side of {min(shape[-2:])}: give 1 to {most}"
            )

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        part = self._bars(inputs)[scene.place % self.parts :: self.parts].any(dim=0)
        return taught(inputs, labels, self.share, self.target, part)

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        return told(rows, cohort, self.boost * rows)

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Stamp the whole trigger on test examples; it was trained on only if `parts` is 1."""
        return obeying(inputs, labels, self.target, self._bars(inputs).any(dim=0))

    def _bars(self, inputs: Tensor) -> Tensor:
        """Mark the bars, two by two from the first corner, one pixel high.

        -> (bars, height, width) bool
        """
        bars = torch.zeros(BARS, *inputs.shape[-2:], dtype=torch.bool)
        for number, bar in enumerate(bars):
            down, across = divmod(number, 2)
            start = across * (self.pixels + GAP)
            bar[down * (1 + GAP), start : start + self.pixels] = True
        return bars
