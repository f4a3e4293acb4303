"""Architectures of the catalogue, and the kinds of content that they read."""

from __future__ import annotations

from abc import abstractmethod
from math import ceil, gcd, prod
from typing import ClassVar, Literal

from pydantic import Field

from lab.common.settings import Component
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
)

Modality = Literal["pictures", "table", "text"]  # what examples are


class Model(Component):
    """An architecture: layers one after the other."""

    table: ClassVar[dict[str, type[Model]]] = {}
    reads: ClassVar[tuple[Modality, ...]] = ("pictures", "table")
    activation: ClassVar[str] = "ReLU"

    @abstractmethod
    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        """Return layers from inputs of `shape` to a logit for each class."""

    def spread(self, fan_in: int) -> float:
        """Bound of the uniform initial values (PyTorch's default for dense and convolution)."""
        return float(fan_in**-0.5)


class Logistic(Model):
    """Multinomial logistic regression: one dense layer from the inputs to the classes."""

    kind: Literal["logistic"] = "logistic"
    title: ClassVar[str] = "Logistic regression"
    activation: ClassVar[str] = "none"

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return Flatten(), Dense("out", prod(shape), classes)


class Mlp(Model):
    """One hidden ReLU layer; trains fast, but its first layer reveals single inputs exactly."""

    kind: Literal["mlp"] = "mlp"
    title: ClassVar[str] = "MLP"
    hidden: int = Field(64, ge=1, le=2048, description="number of neurons in the hidden layer")

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return (
            Flatten(),
            Dense("hidden", prod(shape), self.hidden),
            Relu(),
            Dense("out", self.hidden, classes),
        )


class Cnn(Model):
    """Two 5x5 convolutions with max pooling, then a dense ReLU layer; smaller than the paper's."""

    kind: Literal["cnn"] = "cnn"
    title: ClassVar[str] = "CNN"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, section 3"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures",)
    channels: int = Field(
        16, ge=1, le=64, description="number of channels of the first convolution"
    )
    hidden: int = Field(64, ge=1, le=2048, description="number of neurons in the dense layer")
    norm: Literal["none", "group"] = Field(
        "none", description="normalise after each convolution, in groups of about four channels"
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
    """Three strided sigmoid convolutions; smooth everywhere, the classic target of inversion."""

    kind: Literal["lenet"] = "lenet"
    title: ClassVar[str] = "LeNet (sigmoid)"
    source: ClassVar[str] = "Zhu et al. 2019, arXiv:1906.08935, section 4.1"
    reads: ClassVar[tuple[Modality, ...]] = ("pictures",)
    activation: ClassVar[str] = "sigmoid"
    width: float = Field(
        0.5, gt=0, le=2, description="bound of the uniform initial weights; 0.5 as published"
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
    """Predicts the next word by a ReLU layer over the vectors of the last words; small and fast."""

    kind: Literal["keyboard"] = "keyboard"
    title: ClassVar[str] = "Next-word model"
    source: ClassVar[str] = "Bengio et al. 2003, JMLR 3, section 2"
    reads: ClassVar[tuple[Modality, ...]] = ("text",)
    width: int = Field(32, ge=1, le=512, description="length of a word's vector")
    hidden: int = Field(128, ge=1, le=2048, description="number of neurons in the hidden layer")

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        return (
            Embedding("words", classes, self.width),
            Flatten(),
            Dense("hidden", shape[0] * self.width, self.hidden),
            Relu(),
            Dense("out", self.hidden, classes),
        )


class Transformer(Model):
    """A small causal transformer that predicts the next word from its last position."""

    kind: Literal["transformer"] = "transformer"
    title: ClassVar[str] = "Transformer"
    source: ClassVar[str] = "Vaswani et al. 2017, arXiv:1706.03762; Radford et al. 2019 (GPT-2)"
    reads: ClassVar[tuple[Modality, ...]] = ("text",)
    heads: int = Field(4, ge=1, le=16, description="number of attention heads in a layer")
    each: int = Field(
        32,
        ge=2,
        le=64,
        description="width of an attention head; the model's width is that of all heads together",
    )
    depth: int = Field(2, ge=1, le=6, description="number of attention layers")

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
