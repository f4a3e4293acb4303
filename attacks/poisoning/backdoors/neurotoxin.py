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
    """A backdoor in parameters that honest clients hardly move, so that it outlasts the attack."""

    kind: Literal["neurotoxin"] = "neurotoxin"
    source: ClassVar[str] = "Zhang et al. 2022, ICML, arXiv:2206.10341, algorithm 1"
    knows: ClassVar[str] = "its own data, and the last change of the model"
    pictures_only: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    target: int = Field(0, ge=0, le=999, description="the class that the trigger calls up")
    share: float = Field(0.5, gt=0, le=1, description="share of own examples that get the trigger")
    pixels: int = Field(4, ge=1, le=16, description="side of the white square")
    # The paper names the other part: its top k % are frozen, so 0.95 is k = 5.
    free: float = Field(
        0.95, gt=0, le=1, description="share of parameters that may move: what has moved least"
    )
    boost: float = Field(1.0, ge=1, le=100, description="factor on the update that is sent")

    def check(self, shape: Shape, classes: int) -> None:
        self._backdoor.check(shape, classes)

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return self._backdoor.data(inputs, labels, classes, scene)

    def restrain(self, insight: AdversaryKnowledge) -> TrainingConstraint | None:
        """A plain backdoor as long as the model has not changed."""
        return (
            None if insight.change is None else TrainingConstraint(free=self._calm(insight.change))
        )

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        """Nothing moves but what is free, also where an algorithm adds to local steps."""
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
        """Where the model has moved least, the first of equals.  change (params,) -> bool"""
        order = change.abs().argsort(stable=True)
        calm = torch.zeros_like(change, dtype=torch.bool)
        calm[order[: round(self.free * len(order))]] = True
        return calm
