"""Dense layers.  The gradient is never formed: the step is part of the matrix product."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.layers.layer import Layer, Parameters, ParametrisedLayer, Shape


@dataclass(frozen=True)
class Dense(ParametrisedLayer):
    """outputs = inputs @ weight.T + bias"""

    name: str
    inputs: int
    outputs: int

    def shapes(self) -> dict[str, Shape]:
        return {"weight": (self.outputs, self.inputs), "bias": (self.outputs,)}

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        weight, bias = own
        return F.linear(inputs, weight, bias)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
        weight, bias = own
        return torch.baddbmm(bias.unsqueeze(1), inputs, weight.mT), inputs

    def backward(self, own: Parameters, kept: Tensor, slopes: Tensor) -> Tensor:
        weight, _ = own
        return torch.bmm(slopes, weight)

    def descend(self, own: Parameters, kept: Tensor, slopes: Tensor, rate: float) -> None:
        weight, bias = own
        if weight.dtype == slopes.dtype:
            weight.baddbmm_(slopes.mT, kept, alpha=-rate)
        else:
            weight.sub_(torch.bmm(slopes.mT, kept), alpha=rate)
        bias.sub_(slopes.sum(dim=1), alpha=rate)

    def each(self, kept: Tensor, slopes: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """|slopes x inputs| = |slopes| |inputs|, and the bias counts as an input of 1.

        Goodfellow 2015, arXiv:1510.01799.
        """
        inward, outward = (torch.linalg.vector_norm(side, dim=2) for side in (kept, slopes))
        return (inward.square() + 1) * outward.square(), (kept, slopes)

    def descend_weighted(
        self, own: Parameters, evidence: tuple[Tensor, Tensor], weights: Tensor, rate: float
    ) -> None:
        kept, slopes = evidence
        self.descend(own, kept, slopes * weights.unsqueeze(2), rate)


@dataclass(frozen=True)
class Flatten(Layer):
    """All features of an example in a row, in the order of the shape."""

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return inputs.flatten(1)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Shape]:
        return inputs.flatten(2), tuple(inputs.shape)

    def backward(self, own: Parameters, kept: Shape, slopes: Tensor) -> Tensor:
        return slopes.view(kept)
