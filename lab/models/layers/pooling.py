"""Max pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.layers.layer import Layer, Parameters


@dataclass(frozen=True)
class MaxPool(Layer):
    """The largest of each square of pixels."""

    side: int = 2
    one_by_one: ClassVar[bool] = True

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return F.max_pool2d(inputs, self.side)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        outputs, places = torch.ops.aten.max_pool2d_with_indices(inputs[0], [self.side] * 2)
        return outputs.unsqueeze(0), (inputs[0], places)

    def backward(self, own: Parameters, kept: tuple[Tensor, Tensor], slopes: Tensor) -> Tensor:
        images, places = kept
        square = [self.side] * 2
        back: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(
            slopes[0], images, square, square, [0, 0], [1, 1], False, places
        )
        return back.unsqueeze(0)
