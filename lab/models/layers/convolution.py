"""Convolutions, one client at a time, with colours last in memory, where they run fastest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.layers.layer import Parameters, ParametrisedLayer, Shape


@dataclass(frozen=True)
class Convolution(ParametrisedLayer):
    """Square kernels of odd size, padded so that a stride of 1 keeps height and width."""

    name: str
    inputs: int
    outputs: int
    kernel: int = 5
    stride: int = 1
    one_by_one: ClassVar[bool] = True

    def shapes(self) -> dict[str, Shape]:
        weight = (self.outputs, self.inputs, self.kernel, self.kernel)
        return {"weight": weight, "bias": (self.outputs,)}

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        weight, bias = own
        return F.conv2d(inputs, weight, bias, self.stride, self.kernel // 2)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
        images = colours_last(inputs[0])
        return self([part[0] for part in own], images).unsqueeze(0), images

    def backward(self, own: Parameters, kept: Tensor, slopes: Tensor) -> Tensor:
        back, _, _ = self._backward(own, kept, slopes, [True, False, False])
        return back.unsqueeze(0)

    def descend(self, own: Parameters, kept: Tensor, slopes: Tensor, rate: float) -> None:
        _, *gradients = self._backward(own, kept, slopes, [False, True, True])
        for part, gradient in zip(own, gradients, strict=True):
            part[0].sub_(gradient, alpha=rate)

    def each(self, kept: Tensor, slopes: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Every example's gradient, whole.  Only the kernel's width is unfolded: its rows are
        shifted views, which costs a fifth of the memory of unfolding both.
        """
        size, side, step = len(kept), self.kernel, self.stride
        frame = self.kernel // 2
        framed = F.pad(kept.permute(0, 2, 3, 1), (0, 0, frame, frame, frame, frame))
        _, height, width, colours = framed.shape
        high, wide = slopes.shape[-2:]
        windows = framed.as_strided(
            (size, height, wide, side * colours),
            (height * width * colours, width * colours, step * colours, 1),
        ).contiguous()  # (examples, rows of the image, places across, width of the kernel)
        flat = slopes[0].flatten(2)  # (examples, outputs, places)
        last = step * (high - 1) + 1
        rows = [windows[:, row : row + last : step].flatten(1, 2) for row in range(side)]
        # The wider side of each product comes last, which is up to three times faster.
        weights = torch.stack([torch.bmm(row.mT, flat.mT) for row in rows], dim=1).flatten(1)
        biases = flat.sum(dim=2)  # (examples, outputs)
        lengths = weights.square().sum(dim=1) + biases.square().sum(dim=1)
        return lengths.unsqueeze(0), (weights, biases)

    def descend_weighted(
        self, own: Parameters, evidence: tuple[Tensor, Tensor], weights: Tensor, rate: float
    ) -> None:
        kernels, biases = (weights[0] @ gradients for gradients in evidence)
        kernels = kernels.view(self.kernel, self.kernel, self.inputs, self.outputs)
        own[0][0].sub_(kernels.permute(3, 2, 0, 1), alpha=rate)
        own[1][0].sub_(biases, alpha=rate)

    def _backward(
        self, own: Parameters, kept: Tensor, slopes: Tensor, wanted: list[bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        pad, stride = [self.kernel // 2] * 2, [self.stride] * 2
        found: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            slopes[0],
            kept,
            own[0][0].to(slopes.dtype),
            [self.outputs],
            stride,
            pad,
            [1, 1],
            False,
            [0, 0],
            1,
            wanted,
        )
        return found


def colours_last(images: Tensor) -> Tensor:
    """The same pictures with the colours of a pixel side by side.

    For a single colour both layouts hold the same bytes, and PyTorch takes the slower one unless
    the strides say otherwise.
    """
    colours, height, width = images.shape[1:]
    if colours > 1:
        return images.contiguous(memory_format=torch.channels_last)
    return images.contiguous().as_strided(images.shape, (height * width, 1, width, 1))
