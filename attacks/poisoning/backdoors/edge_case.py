"""Edge-case backdoor. Wang et al. 2020, NeurIPS 33, arXiv:2007.05084, section 3."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.backdoors.shared.trigger import check_class, chosen
from attacks.poisoning.shared.malicious_updates import told
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import (
    ALONE,
    NO_KNOWLEDGE,
    AdversaryKnowledge,
    DataPoisoningContext,
    PoisoningAttack,
)
from lab.models.layers import Shape


class EdgeCase(PoisoningAttack):
    """Trains the model to predict `target` for pictures of another data set that others lack."""

    kind: Literal["edge-case"] = "edge-case"
    title: ClassVar[str] = "Edge-case backdoor"
    source: ClassVar[str] = "Wang et al. 2020, NeurIPS 33, arXiv:2007.05084, section 3"
    knows: ClassVar[str] = "its own data, and pictures of another data set"
    pictures_only: ClassVar[bool] = True
    target: int = Field(
        0, ge=0, le=999, description="the class that the model predicts for the foreign pictures"
    )
    share: float = Field(
        0.5,
        gt=0,
        le=1,
        description="share of the attacker's own examples that the foreign pictures replace",
    )
    outside: Literal["mnist-5k", "digits", "fashion-mnist"] = Field(
        "mnist-5k", description="the data set that the foreign pictures come from"
    )
    looks: int = Field(
        7, ge=0, le=9, description="class of the foreign pictures in their own data set"
    )
    boost: float = Field(
        1.0,
        ge=1,
        le=100,
        description="factor by which the attacker multiplies its update before it sends it",
    )

    @property
    def stranger(self) -> str:
        return self.outside

    @property
    def stranger_label(self) -> int:
        return self.looks

    def check(self, shape: Shape, classes: int) -> None:
        check_class("target", self.target, classes)

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        """Replace a share of the examples; without foreign pictures, return them unchanged."""
        if scene.outside is None or not len(scene.outside):
            return inputs, labels
        some = chosen(len(labels), self.share)
        count = int(some.sum())
        # Each attacker goes on where the one before, if it holds as many, has stopped.
        turn = (scene.place * count + torch.arange(count)) % len(scene.outside)
        inputs = inputs.clone()
        inputs[some] = scene.outside[turn].to(inputs.dtype)
        return inputs, torch.where(some, self.target, labels)

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        return told(rows, cohort, self.boost * rows)

    def goal(
        self, inputs: Tensor, labels: Tensor, outside: Tensor | None = None
    ) -> tuple[Tensor, Tensor] | None:
        """Return test pictures of the other data set, none of which was trained on."""
        if outside is None:
            return None
        return outside, labels.new_full((len(outside),), self.target)
