"""Inflated weights: claim more examples than there are. Portnoy et al. 2022, arXiv:2004.04986."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.poisoning.labels.label_flip import LabelFlip
from lab.interfaces.poisoning import ALONE, DataPoisoningContext, PoisoningAttack


class InflatedWeight(PoisoningAttack):
    """Flip all labels, and report `factor` times the examples; secure aggregation caps the number.

    A plain mean believes any number.  The ring of masked sums has room for the largest client's
    examples, and clips a larger claim to that.
    """

    kind: Literal["inflated-weight"] = "inflated-weight"
    source: ClassVar[str] = "Portnoy et al. 2022, Applied Sciences 12(17), arXiv:2004.04986"
    knows: ClassVar[str] = "its own data"
    factor: float = Field(100.0, ge=1, le=1e6, description="times the examples that it holds")

    def data(
        self, inputs: Tensor, labels: Tensor, classes: int, scene: DataPoisoningContext = ALONE
    ) -> tuple[Tensor, Tensor]:
        return LabelFlip().data(inputs, labels, classes, scene)

    def claims(self, weights: Tensor, malicious: Tensor) -> Tensor:
        """Who holds nothing lies as if it held one example."""
        return torch.where(malicious, self.factor * weights.clamp_min(1), weights)
