"""A module that a malicious server puts before a model.  Fowl et al. 2022, arXiv:2110.13057.

Its bins measure the brightness of an example.  Each bin is clamped from both sides, the sparse
variant of section 4.3, so that an example changes only the parameters of its own bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.architectures import Model
from lab.models.layers import Dense, Layer, Parameters, ParametrisedLayer, Shape

NAME = "imprint"
SHIFT = 0.05  # the most that the module adds to every pixel
NARROW = 1e-6  # no bin is narrower: brightness is a sum of floats
GAIN = 10.0  # what the sum of the bins is multiplied by: their slopes outlast the masks' rounding


def step_of(bins: int) -> float:
    """Return a bin's largest output, which it gives as soon as an example lies beyond it."""
    return SHIFT / GAIN / bins


@dataclass(frozen=True)
class Bins(ParametrisedLayer):
    """A layer of bins: outputs = inputs + GAIN x the sum of the bins; pictures hardly change."""

    name: str
    shape: Shape
    bins: int

    def shapes(self) -> dict[str, Shape]:
        return {"weight": (self.bins, prod(self.shape)), "bias": (self.bins,)}

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        weight, bias = own
        found = F.linear(inputs.flatten(1), weight, bias).clamp(0, step_of(self.bins)).sum(dim=1)
        return inputs + GAIN * found.view(-1, *[1] * len(self.shape))

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        flat = inputs.flatten(2)
        found, _ = self._dense.forward(own, flat)  # (clients, examples, bins)
        alive = ((found > 0) & (found < step_of(self.bins))).to(flat.dtype)
        added = GAIN * found.clamp(0, step_of(self.bins)).sum(dim=2)
        return inputs + added.view(*added.shape, *[1] * len(self.shape)), (flat, alive)

    def backward(self, own: Parameters, kept: tuple[Tensor, Tensor], slopes: Tensor) -> Tensor:
        back = self._dense.backward(own, kept[0], self._slopes(kept, slopes))
        return slopes + back.view(slopes.shape)

    def descend(
        self, own: Parameters, kept: tuple[Tensor, Tensor], slopes: Tensor, rate: float
    ) -> None:
        self._dense.descend(own, kept[0], self._slopes(kept, slopes), rate)

    def each(
        self, kept: tuple[Tensor, Tensor], slopes: Tensor
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        return self._dense.each(kept[0], self._slopes(kept, slopes))

    def descend_weighted(
        self, own: Parameters, evidence: tuple[Tensor, Tensor], weights: Tensor, rate: float
    ) -> None:
        self._dense.descend_weighted(own, evidence, weights, rate)

    @property
    def _dense(self) -> Dense:
        return Dense(self.name, prod(self.shape), self.bins)

    def _slopes(self, kept: tuple[Tensor, Tensor], slopes: Tensor) -> Tensor:
        """Return the bins' values before they are clamped.  -> (clients, examples, bins)"""
        return GAIN * kept[1] * slopes.flatten(2).sum(dim=2, keepdim=True)


class Implanted(Model):
    """A model behind the bins.  It is in no table, because no run should choose it."""

    kind: Literal["implanted"] = "implanted"
    source: ClassVar[str] = "Fowl et al. 2022, arXiv:2110.13057, section 4.3"
    host: Model
    bins: int

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return Bins(NAME, shape, self.bins), *self.host.layers(shape, classes)

    def spread(self, fan_in: int) -> float:
        return self.host.spread(fan_in)


def before(weight: Tensor, bias: Tensor, sent: Tensor) -> Tensor:
    """Join the module's parameters and the host's to one vector.

    weight (bins, pixels), bias (bins,), sent (params,) -> (params,)
    """
    return torch.cat([weight.flatten(), bias, sent])


def edges_of(brightness: Tensor, bins: int) -> Tensor:
    """Return edges with equally many public examples in each bin.  (public,) -> (bins + 1,)

    The outer edges reach as far beyond the public examples as those are apart.
    """
    brightness = brightness.double()
    inner = brightness.quantile(torch.arange(1, bins).double() / bins)
    reach = brightness.max() - brightness.min() + NARROW
    ends = (brightness.min() - reach).view(1), (brightness.max() + reach).view(1)
    edges = torch.cat([ends[0], inner, ends[1]])
    # Public examples that are equally bright would leave nothing between two edges.
    steps = edges.diff().clamp_min(NARROW).cumsum(dim=0)
    return torch.cat([edges[:1], edges[0] + steps]).float()
