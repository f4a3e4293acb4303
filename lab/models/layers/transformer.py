"""A block of a causal transformer. Vaswani et al. 2017, arXiv:1706.03762, section 3.

Normalised before each half, as in Radford et al. 2019; no dropout, for training must be repeatable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.layers.generic import Generic, Kept
from lab.models.layers.layer import Layer, Parameters, ParametrisedLayer, Shape


@dataclass(frozen=True)
class Block(ParametrisedLayer):
    """Attention to this and earlier places, then a dense ReLU layer; both add to what came in.

    inputs (examples, places, width) -> the same shape
    """

    name: str
    width: int
    heads: int
    hidden: int

    def shapes(self) -> dict[str, Shape]:
        square = (self.width, self.width)
        return {
            "attend_norm.weight": (self.width,),
            "attend_norm.bias": (self.width,),
            "query.weight": square,
            "key.weight": square,
            "value.weight": square,
            "mix.weight": square,
            "think_norm.weight": (self.width,),
            "think_norm.bias": (self.width,),
            "up.weight": (self.hidden, self.width),
            "up.bias": (self.hidden,),
            "down.weight": (self.width, self.hidden),
            "down.bias": (self.width,),
        }

    def initial(
        self, drawn: dict[str, Tensor], spread: Callable[[int], float]
    ) -> dict[str, Tensor]:
        """Normalisation begins by changing nothing; a bias is as wide as its layer's weights."""
        found = {}
        for part, values in drawn.items():
            if "norm" in part:
                found[part] = torch.full_like(values, float(part.endswith("weight")))
            else:
                fan_in = self.shapes()[part.replace("bias", "weight")][1]
                found[part] = values * spread(fan_in)
        return found

    def products(self, outputs: Tensor) -> int:
        """Attention's own are left out: with few places they are few."""
        dense = [prod(shape) for shape in self.shapes().values() if len(shape) == 2]
        return sum(dense) * outputs.shape[1]

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return _passed(self.heads, own, inputs)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Kept]:
        return self._generic.forward(own, inputs)

    def backward(self, own: Parameters, kept: Kept, slopes: Tensor) -> Tensor:
        return self._generic.backward(own, kept, slopes)

    def descend(self, own: Parameters, kept: Kept, slopes: Tensor, rate: float) -> None:
        self._generic.descend(own, kept, slopes, rate)

    def each(self, kept: Kept, slopes: Tensor) -> tuple[Tensor, list[Tensor]]:
        return self._generic.each(kept, slopes)

    def descend_weighted(
        self, own: Parameters, evidence: list[Tensor], weights: Tensor, rate: float
    ) -> None:
        self._generic.descend_weighted(own, evidence, weights, rate)

    @property
    def _generic(self) -> Generic:
        def function(own: Sequence[Tensor], inputs: Tensor) -> Tensor:
            return _passed(self.heads, own, inputs)

        return Generic(self.name, tuple(self.shapes().items()), function)


@dataclass(frozen=True)
class Last(Layer):
    """What stands in the last place.  (examples, places, width) -> (examples, width)"""

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return inputs[:, -1]

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Shape]:
        return inputs[:, :, -1], tuple(inputs.shape)

    def backward(self, own: Parameters, kept: Shape, slopes: Tensor) -> Tensor:
        back = slopes.new_zeros(kept)
        back[:, :, -1] = slopes
        return back


def attended(heads: int, own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The first half of a block: what its attention reads, and what it leaves behind."""
    scale, shift, query, key, value, mix = own[:6]
    read = F.layer_norm(inputs, inputs.shape[-1:], scale, shift)
    asked, offered, told = (
        (read @ weight.mT).unflatten(-1, (heads, -1)).transpose(-2, -3)
        for weight in (query, key, value)
    )  # (examples, heads, places, width / heads)
    scores = asked @ offered.mT / asked.shape[-1] ** 0.5
    places = inputs.shape[-2]
    later = torch.ones(places, places, dtype=torch.bool, device=inputs.device).triu(1)
    shares = scores.masked_fill(later, float("-inf")).softmax(dim=-1)
    return read, inputs + (shares @ told).transpose(-2, -3).flatten(-2) @ mix.mT


def thought(own: Parameters, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """The second half: what its dense layer reads, and what it leaves behind."""
    scale, shift, up, up_bias, down, down_bias = own[6:]
    read = F.layer_norm(inputs, inputs.shape[-1:], scale, shift)
    return read, inputs + F.linear(F.linear(read, up, up_bias).relu(), down, down_bias)


def _passed(heads: int, own: Any, inputs: Tensor) -> Tensor:
    return thought(own, attended(heads, own, inputs)[1])[1]
