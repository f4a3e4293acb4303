"""Activations: both write over their inputs, and know their slopes from their outputs."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from lab.models.layers.layer import Layer, Parameters


@dataclass(frozen=True)
class Relu(Layer):
    """The larger of an input and 0."""

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return inputs.relu()

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs = inputs.relu_()
        return outputs, outputs

    def backward(self, own: Parameters, kept: Tensor, slopes: Tensor) -> Tensor:
        back: Tensor = torch.ops.aten.threshold_backward(slopes, kept, 0)
        return back


@dataclass(frozen=True)
class Sigmoid(Layer):
    """1 / (1 + exp(-input))"""

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return inputs.sigmoid()

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
        outputs = inputs.sigmoid_()
        return outputs, outputs

    def backward(self, own: Parameters, kept: Tensor, slopes: Tensor) -> Tensor:
        back: Tensor = torch.ops.aten.sigmoid_backward(slopes, kept)
        return back
