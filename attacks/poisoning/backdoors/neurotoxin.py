"""Neurotoxin. Zhang et al. 2022, ICML, arXiv:2206.10341, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.backdoors.backdoor import Backdoor
from attacks.poisoning.shared.malicious_updates import told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import (
    ALONE,
    NO_KNOWLEDGE,
    AdversaryKnowledge,
    DataPoisoningContext,
    PoisoningAttack,
    TrainingConstraint,
)
from lab.models.layers import Shape


class Neurotoxin(PoisoningAttack):
    """Trains a backdoor only in parameters that honest clients hardly change, so that it lasts."""

    kind: Literal["neurotoxin"] = "neurotoxin"
    title: ClassVar[str] = "Neurotoxin"
    source: ClassVar[str] = "Zhang et al. 2022, ICML, arXiv:2206.10341, algorithm 1"
    knows: ClassVar[str] = "its own data, and the last change of the model"
    pictures_only: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
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
    # The paper names the other part: its top k % are frozen, so 0.95 is k = 5.
    free: float = Field(
        0.95,
        gt=0,
        le=1,
        description=(
            "share of the parameters that the attacker changes, those that changed least before"
        ),
    )
    boost: float = Field(
        1.0,
        ge=1,
        le=100,
        description="factor by which the attacker multiplies its update before it sends it",
    )

    def check(self, shape: Shape, classes: int) -> None:
        self._backdoor.check(shape, classes)

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return self._backdoor.data(inputs, labels, classes, scene)

    def restrain(self, insight: AdversaryKnowledge) -> TrainingConstraint | None:
        """Limit local steps to the free parameters; before the model's first change, to none."""
        return (
            None if insight.change is None else TrainingConstraint(free=self._calm(insight.change))
        )

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        """Send only changes of free parameters, also where an algorithm adds to local steps."""
        sent = self.boost * rows
        if insight.change is not None:
            calm = self._calm(insight.change)[: rows.shape[1]]  # the first so many travel
            sent = torch.where(calm, sent, 0.0)
        return told(rows, cohort, sent)

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        return self._backdoor.goal(inputs, labels)

    @property
    def _backdoor(self) -> Backdoor:
        return Backdoor(target=self.target, share=self.share, pixels=self.pixels)

    def _calm(self, change: Tensor) -> Tensor:
        """Mark the parameters that changed least, the first among equals.  (params,) -> bool"""
        order = change.abs().argsort(stable=True)
        calm = torch.zeros_like(change, dtype=torch.bool)
        calm[order[: round(self.free * len(order))]] = True
        return calm
