"""Inflated weight: reports more examples than it holds. Portnoy et al. 2022, arXiv:2004.04986."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.labels.label_flip import LabelFlip
from lab.interfaces.poisoning import ALONE, DataPoisoningContext, PoisoningAttack


class InflatedWeight(PoisoningAttack):
    """Flips all labels and reports `factor` times the examples it holds, to gain weight.

    A plain mean believes any number.  The ring of secure aggregation has room for the largest
    client's
    examples, and caps a larger claim at that number.
    """

    kind: Literal["inflated-weight"] = "inflated-weight"
    title: ClassVar[str] = "Inflated weight"
    source: ClassVar[str] = "Portnoy et al. 2022, Applied Sciences 12(17), arXiv:2004.04986"
    knows: ClassVar[str] = "its own data"
    factor: float = Field(
        100.0,
        ge=1,
        le=1e6,
        description="reported examples, as a multiple of those that the client holds",
    )

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return LabelFlip().data(inputs, labels, classes, scene)

    def claims(self, weights: Tensor, malicious: Tensor) -> Tensor:
        """Inflate malicious clients' reports; an empty client counts as if it held one example."""
        return torch.where(malicious, self.factor * weights.clamp_min(1), weights)
