"""Group normalisation: like batch normalisation, but no example sees another.

Wu and He 2018, arXiv:1803.08494.  Federated learning needs that: batch statistics differ between
clients, and per-example gradients would not exist.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.layers.layer import Parameters, ParametrisedLayer, Shape

SMALL = 1e-5  # added to the variance, as PyTorch does


@dataclass(frozen=True)
class GroupNorm(ParametrisedLayer):
    """Mean 0 and variance 1 over each group of an example's channels, then scale and shift."""

    name: str
    channels: int
    groups: int

    def shapes(self) -> dict[str, Shape]:
        return {"weight": (self.channels,), "bias": (self.channels,)}

    def initial(
        self, drawn: dict[str, Tensor], spread: Callable[[int], float]
    ) -> dict[str, Tensor]:
        """It begins by changing nothing."""
        ones, zeros = torch.ones(self.channels), torch.zeros(self.channels)
        return {"weight": ones, "bias": zeros}

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        weight, bias = own
        return F.group_norm(inputs, self.groups, weight, bias, SMALL)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        weight, bias = own
        grouped = self._grouped(inputs)
        middle = grouped.mean(dim=3, keepdim=True)
        scale = (grouped.var(dim=3, correction=0, keepdim=True) + SMALL).rsqrt()
        normal = ((grouped - middle) * scale).view(inputs.shape)
        return normal * _wide(weight) + _wide(bias), (normal, scale)

    def backward(self, own: Parameters, kept: tuple[Tensor, Tensor], slopes: Tensor) -> Tensor:
        """What the mean and the variance take out of the slopes cannot come back."""
        normal, scale = kept
        inner, grouped = self._grouped(slopes * _wide(own[0])), self._grouped(normal)
        along = (inner * grouped).mean(dim=3, keepdim=True)
        found = scale * (inner - inner.mean(dim=3, keepdim=True) - grouped * along)
        return found.view(slopes.shape)

    def descend(
        self, own: Parameters, kept: tuple[Tensor, Tensor], slopes: Tensor, rate: float
    ) -> None:
        for part, gradient in zip(own, self._gradients(kept, slopes), strict=True):
            part.sub_(gradient.sum(dim=1), alpha=rate)

    def each(
        self, kept: tuple[Tensor, Tensor], slopes: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        weights, biases = self._gradients(kept, slopes)
        return weights.square().sum(dim=2) + biases.square().sum(dim=2), (weights, biases)

    def descend_weighted(
        self, own: Parameters, evidence: tuple[Tensor, Tensor], weights: Tensor, rate: float
    ) -> None:
        for part, gradient in zip(own, evidence, strict=True):
            part.sub_((gradient * weights.unsqueeze(2)).sum(dim=1), alpha=rate)

    def _gradients(self, kept: tuple[Tensor, Tensor], slopes: Tensor) -> tuple[Tensor, Tensor]:
        """Of each example.  -> (clients, examples, channels) twice"""
        normal, _ = kept
        return (normal * slopes).flatten(3).sum(dim=3), slopes.flatten(3).sum(dim=3)

    def _grouped(self, inputs: Tensor) -> Tensor:
        """-> (clients, examples, groups, everything in the group)"""
        return inputs.reshape(*inputs.shape[:2], self.groups, -1)


def _wide(part: Tensor) -> Tensor:
    """(clients, channels) -> for pictures of (clients, examples, channels, height, width)"""
    return part[:, None, :, None, None]
