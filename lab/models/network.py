"""Models as pure functions of one flat vector, so that a cohort of models is a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import prod

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import uniform
from lab.models.architectures import Model
from lab.models.layers import Layer, ParametrisedLayer, Shape


@dataclass(frozen=True)
class Network:
    """A model bound to the shape of its data: a pure function of a flat vector."""

    model: Model
    shape: Shape
    classes: int

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        return self.model.layers(self.shape, self.classes)

    @property
    def trained(self) -> list[ParametrisedLayer]:
        """The layers with parameters."""
        return [layer for layer in self.layers if isinstance(layer, ParametrisedLayer)]

    @cached_property
    def slots(self) -> dict[str, tuple[slice, Shape]]:
        """Where each parameter, such as `hidden.weight`, lies in the flat vector; its shape."""
        slots: dict[str, tuple[slice, Shape]] = {}
        start = 0
        for layer in self.trained:
            for part, shape in layer.shapes().items():
                slots[f"{layer.name}.{part}"] = (slice(start, start + prod(shape)), shape)
                start += prod(shape)
        return slots

    @cached_property
    def size(self) -> int:
        return max(int(place.stop) for place, _ in self.slots.values())

    def places(self, last: int) -> int:
        """How many parameters come before those of the `last` trained layers."""
        first = self.trained[-last]
        place, _ = self.slots[f"{first.name}.{next(iter(first.shapes()))}"]
        return int(place.start)

    def sizes(self, params: int) -> tuple[int, ...]:
        """How many parameters each layer has, of those whose parameters are the first `params`."""
        sizes = [sum(map(prod, layer.shapes().values())) for layer in self.trained]
        starts = accumulate(sizes, initial=0)
        return tuple(size for start, size in zip(starts, sizes, strict=False) if start < params)

    @cached_property
    def work(self) -> float:
        """Operations of training on one example: each weight is used in every place of an output,
        to multiply and to add, on the way forward and twice on the way back.
        """
        total, outputs = 0, torch.zeros(1, *self.shape)
        for layer in self.layers:
            shapes = layer.shapes()
            outputs = layer([torch.zeros(shape) for shape in shapes.values()], outputs)
            if isinstance(layer, ParametrisedLayer):
                total += layer.products(outputs)
        return 6.0 * total

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """flat (..., params) -> each parameter in its own shape, as views"""
        lead = flat.shape[:-1]
        return {
            name: flat[..., place].view(*lead, *shape)
            for name, (place, shape) in self.slots.items()
        }

    def owned(self, parts: dict[str, Tensor]) -> list[list[Tensor]]:
        """The parameters of each layer, in order."""
        return [
            [parts[f"{layer.name}.{part}"] for part in layer.shapes()]
            if isinstance(layer, ParametrisedLayer)
            else []
            for layer in self.layers
        ]

    def __call__(self, flat: Tensor, inputs: Tensor) -> Tensor:
        """flat (params,), inputs (examples, *shape) -> logits (examples, classes)"""
        outputs = inputs
        for layer, own in zip(self.layers, self.owned(self.split(flat)), strict=True):
            outputs = layer(own, outputs)
        return outputs

    def initial(self, generator: np.random.Generator) -> Tensor:
        """A fresh flat vector.  -> (params,)"""
        flat = uniform(generator, self.size) * 2 - 1
        parts = self.split(flat)
        for layer in self.trained:
            names = {part: f"{layer.name}.{part}" for part in layer.shapes()}
            drawn = {part: parts[name] for part, name in names.items()}
            for part, values in layer.initial(drawn, self.model.spread).items():
                parts[names[part]].copy_(values)
        return flat
