"""Models as pure functions of one flat vector, so that a cohort of models is a matrix."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil, gcd, prod
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from lab.common.random_streams import uniform
from lab.common.settings import Part
from lab.models.layers import (
    Block,
    Convolution,
    Dense,
    Embedding,
    Flatten,
    GroupNorm,
    Last,
    Layer,
    MaxPool,
    Positions,
    Relu,
    Shape,
    Sigmoid,
    Trained,
)

Content = Literal["pictures", "table", "text"]  # what examples are


class Model(Part):
    """An architecture: layers one after the other."""

    table: ClassVar[dict[str, type[Model]]] = {}
    reads: ClassVar[tuple[Content, ...]] = ("pictures", "table")
    activation: ClassVar[str] = "ReLU"

    @abstractmethod
    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        """From inputs of `shape` to a logit for each class."""

    def spread(self, fan_in: int) -> float:
        """Initial values are uniform in +- this (PyTorch's default for dense and convolution)."""
        return float(fan_in**-0.5)


class Logistic(Model):
    """Multinomial logistic regression."""

    kind: Literal["logistic"] = "logistic"
    activation: ClassVar[str] = "none"

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return Flatten(), Dense("out", prod(shape), classes)


class Mlp(Model):
    """One hidden ReLU layer: fast, and the first layer gives single inputs away."""

    kind: Literal["mlp"] = "mlp"
    hidden: int = Field(64, ge=1, le=2048, description="width of the hidden layer")

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return (
            Flatten(),
            Dense("hidden", prod(shape), self.hidden),
            Relu(),
            Dense("out", self.hidden, classes),
        )


class Cnn(Model):
    """Two 5x5 convolutions with max pooling, then a dense ReLU layer (McMahan 2017's, smaller)."""

    kind: Literal["cnn"] = "cnn"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, section 3"
    reads: ClassVar[tuple[Content, ...]] = ("pictures",)
    channels: int = Field(16, ge=1, le=64, description="channels of the first convolution")
    hidden: int = Field(64, ge=1, le=2048, description="width of the dense layer")
    norm: Literal["none", "group"] = Field(
        "none", description="group normalisation after each convolution, in groups of about four"
    )

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        colours, height, width = shape
        few, many = self.channels, 2 * self.channels
        # Pooling before ReLU gives the same numbers with a quarter of the work.
        return (
            Convolution("first", colours, few),
            *self._normal("first_norm", few),
            MaxPool(),
            Relu(),
            Convolution("second", few, many),
            *self._normal("second_norm", many),
            MaxPool(),
            Relu(),
            Flatten(),
            Dense("hidden", many * (height // 4) * (width // 4), self.hidden),
            Relu(),
            Dense("out", self.hidden, classes),
        )

    def _normal(self, name: str, channels: int) -> list[Layer]:
        if self.norm == "none":
            return []
        return [GroupNorm(name, channels, gcd(channels, max(1, channels // 4)))]


class LeNet(Model):
    """Three strided sigmoid convolutions: smooth everywhere, so the classic inversion target."""

    kind: Literal["lenet"] = "lenet"
    source: ClassVar[str] = "Zhu et al. 2019, arXiv:1906.08935, section 4.1"
    reads: ClassVar[tuple[Content, ...]] = ("pictures",)
    activation: ClassVar[str] = "sigmoid"
    width: float = Field(
        0.5, gt=0, le=2, description="initial weights are uniform in +- this; 0.5 as published"
    )

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        colours, height, width = shape
        return (
            Convolution("first", colours, 12, stride=2),
            Sigmoid(),
            Convolution("second", 12, 12, stride=2),
            Sigmoid(),
            Convolution("third", 12, 12),
            Sigmoid(),
            Flatten(),
            Dense("out", 12 * ceil(height / 4) * ceil(width / 4), classes),
        )

    def spread(self, fan_in: int) -> float:
        return self.width


class Keyboard(Model):
    """A ReLU layer over the vectors of the last words: small, learns fast, predicts the next."""

    kind: Literal["keyboard"] = "keyboard"
    source: ClassVar[str] = "Bengio et al. 2003, JMLR 3, section 2"
    reads: ClassVar[tuple[Content, ...]] = ("text",)
    width: int = Field(32, ge=1, le=512, description="length of a word's vector")
    hidden: int = Field(128, ge=1, le=2048, description="width of the hidden layer")

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return (
            Embedding("words", classes, self.width),
            Flatten(),
            Dense("hidden", shape[0] * self.width, self.hidden),
            Relu(),
            Dense("out", self.hidden, classes),
        )


class Transformer(Model):
    """A small causal transformer that predicts the next word from the last place."""

    kind: Literal["transformer"] = "transformer"
    source: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019 (GPT-2)"
    reads: ClassVar[tuple[Content, ...]] = ("text",)
    heads: int = Field(4, ge=1, le=16, description="heads of attention in a layer")
    each: int = Field(32, ge=2, le=64, description="width of a head; all together are the model's")
    depth: int = Field(2, ge=1, le=6, description="layers of attention")

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        width = self.heads * self.each
        return (
            Embedding("words", classes, width),
            Positions("places", shape[0], width),
            *(Block(f"block{k}", width, self.heads, 4 * width) for k in range(1, self.depth + 1)),
            Last(),
            Dense("out", width, classes),
        )


MODELS = Model.enter(Logistic, Mlp, Cnn, LeNet, Keyboard, Transformer)


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
    def trained(self) -> list[Trained]:
        """The layers with parameters."""
        return [layer for layer in self.layers if isinstance(layer, Trained)]

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
            if isinstance(layer, Trained):
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
            if isinstance(layer, Trained)
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
