"""Models as pure functions of one flat vector, so that a cohort of models is a matrix."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import ceil, prod
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from lab.rng import uniform
from lab.settings import Part

Shape = tuple[int, ...]
Layers = dict[str, Shape]


class Model(Part):
    """An architecture.  Each layer NAME has parameters `NAME.weight` and `NAME.bias`."""

    table: ClassVar[dict[str, type[Model]]] = {}
    pictures_only: ClassVar[bool] = False
    activation: ClassVar[str] = "ReLU"

    @abstractmethod
    def layers(self, shape: Shape, classes: int) -> Layers:
        """The weight's shape of each layer, first to last, for inputs of `shape`."""

    @abstractmethod
    def forward(self, of: dict[str, Tensor], inputs: Tensor) -> Tensor:
        """inputs (examples, *shape) -> logits (examples, classes)"""

    def spread(self, fan_in: int) -> float:
        """Initial values are uniform in +- this (PyTorch's default for dense and convolution)."""
        return float(fan_in**-0.5)


def _dense(of: dict[str, Tensor], name: str, inputs: Tensor) -> Tensor:
    return F.linear(inputs, of[f"{name}.weight"], of[f"{name}.bias"])


def _convolve(of: dict[str, Tensor], name: str, inputs: Tensor, stride: int = 1) -> Tensor:
    return F.conv2d(inputs, of[f"{name}.weight"], of[f"{name}.bias"], stride=stride, padding=2)


class Logistic(Model):
    """Multinomial logistic regression."""

    kind: Literal["logistic"] = "logistic"
    activation: ClassVar[str] = "none"

    def layers(self, shape: Shape, classes: int) -> Layers:
        return {"out": (classes, prod(shape))}

    def forward(self, of: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return _dense(of, "out", inputs.flatten(1))


class Mlp(Model):
    """One hidden ReLU layer: fast, and the first layer gives single inputs away."""

    kind: Literal["mlp"] = "mlp"
    hidden: int = Field(64, ge=1, le=2048, description="width of the hidden layer")

    def layers(self, shape: Shape, classes: int) -> Layers:
        return {"hidden": (self.hidden, prod(shape)), "out": (classes, self.hidden)}

    def forward(self, of: dict[str, Tensor], inputs: Tensor) -> Tensor:
        return _dense(of, "out", F.relu(_dense(of, "hidden", inputs.flatten(1))))


class Cnn(Model):
    """Two 5x5 convolutions with max pooling, then a dense ReLU layer (McMahan 2017's, smaller)."""

    kind: Literal["cnn"] = "cnn"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, section 3"
    pictures_only: ClassVar[bool] = True
    channels: int = Field(16, ge=1, le=64, description="channels of the first convolution")
    hidden: int = Field(64, ge=1, le=2048, description="width of the dense layer")

    def layers(self, shape: Shape, classes: int) -> Layers:
        colours, height, width = shape
        features = 2 * self.channels * (height // 4) * (width // 4)
        return {
            "first": (self.channels, colours, 5, 5),
            "second": (2 * self.channels, self.channels, 5, 5),
            "hidden": (self.hidden, features),
            "out": (classes, self.hidden),
        }

    def forward(self, of: dict[str, Tensor], inputs: Tensor) -> Tensor:
        # Pooling before ReLU gives the same numbers with a quarter of the work.
        first = F.relu(F.max_pool2d(_convolve(of, "first", inputs), 2))
        second = F.relu(F.max_pool2d(_convolve(of, "second", first), 2))
        return _dense(of, "out", F.relu(_dense(of, "hidden", second.flatten(1))))


class LeNet(Model):
    """Three strided sigmoid convolutions: smooth everywhere, so the classic inversion target."""

    kind: Literal["lenet"] = "lenet"
    source: ClassVar[str] = "Zhu et al. 2019, arXiv:1906.08935, section 4.1"
    pictures_only: ClassVar[bool] = True
    activation: ClassVar[str] = "sigmoid"
    width: float = Field(
        0.5, gt=0, le=2, description="initial weights are uniform in +- this; 0.5 as published"
    )

    def layers(self, shape: Shape, classes: int) -> Layers:
        colours, height, width = shape
        features = 12 * ceil(height / 4) * ceil(width / 4)
        return {
            "first": (12, colours, 5, 5),
            "second": (12, 12, 5, 5),
            "third": (12, 12, 5, 5),
            "out": (classes, features),
        }

    def forward(self, of: dict[str, Tensor], inputs: Tensor) -> Tensor:
        first = torch.sigmoid(_convolve(of, "first", inputs, stride=2))
        second = torch.sigmoid(_convolve(of, "second", first, stride=2))
        third = torch.sigmoid(_convolve(of, "third", second))
        return _dense(of, "out", third.flatten(1))

    def spread(self, fan_in: int) -> float:
        return self.width


MODELS = Model.enter(Logistic, Mlp, Cnn, LeNet)


@dataclass(frozen=True)
class Network:
    """A model bound to the shape of its data: a pure function of a flat vector."""

    model: Model
    shape: Shape
    classes: int

    @cached_property
    def slots(self) -> dict[str, tuple[slice, Shape]]:
        """Where each parameter lies in the flat vector, and its shape."""
        slots: dict[str, tuple[slice, Shape]] = {}
        start = 0
        for name, weight in self.model.layers(self.shape, self.classes).items():
            for part, shape in ((f"{name}.weight", weight), (f"{name}.bias", weight[:1])):
                slots[part] = (slice(start, start + prod(shape)), shape)
                start += prod(shape)
        return slots

    @property
    def size(self) -> int:
        return max(int(place.stop) for place, _ in self.slots.values())

    def split(self, flat: Tensor) -> dict[str, Tensor]:
        """flat (params,) -> each parameter in its own shape, as views"""
        return {name: flat[place].view(shape) for name, (place, shape) in self.slots.items()}

    def __call__(self, flat: Tensor, inputs: Tensor) -> Tensor:
        """flat (params,), inputs (examples, *shape) -> logits (examples, classes)"""
        return self.model.forward(self.split(flat), inputs)

    def initial(self, generator: np.random.Generator) -> Tensor:
        """A fresh flat vector.  -> (params,)"""
        flat = uniform(generator, self.size) * 2 - 1
        for name, weight in self.model.layers(self.shape, self.classes).items():
            for part in (f"{name}.weight", f"{name}.bias"):
                flat[self.slots[part][0]] *= self.model.spread(prod(weight[1:]))
        return flat
