"""What a layer is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from math import prod
from typing import Any, ClassVar

from torch import Tensor

Shape = tuple[int, ...]
Parameters = Sequence[Tensor]  # weight and bias, or nothing


class Layer(ABC):
    """A small value.  Passes over a stack have a leading dimension of clients everywhere."""

    one_by_one: ClassVar[bool] = False  # whether it can only pass one client at a time

    def shapes(self) -> dict[str, Shape]:
        """Its parameters by name, first to last; most layers have none."""
        return {}

    @abstractmethod
    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        """One client, differentiable.  inputs (examples, ...) -> (examples, ...)"""

    @abstractmethod
    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Any]:
        """inputs (clients, examples, ...) -> outputs, and what the backward pass needs

        May write its outputs over its inputs where its own backward pass does not need these.
        """

    @abstractmethod
    def backward(self, own: Parameters, kept: Any, slopes: Tensor) -> Tensor:
        """Slopes of the loss by the outputs -> by the inputs"""


class LayerGradient(ABC):
    """How the parameters of a layer take a step, from what the passes kept."""

    name: str  # of the layer, before those of its parameters

    @abstractmethod
    def descend(self, own: Parameters, kept: Any, slopes: Tensor, rate: float) -> None:
        """Take `rate` times the gradient by the parameters away from `own`, in place.

        `own` may be more precise than what the passes were made with.
        """

    @abstractmethod
    def each(self, kept: Any, slopes: Tensor) -> tuple[Tensor, Any]:
        """Squared length of each example's gradient (clients, examples), and its evidence."""

    @abstractmethod
    def descend_weighted(
        self, own: Parameters, evidence: Any, weights: Tensor, rate: float
    ) -> None:
        """As `descend`, from what `each` found; each example counts `weights` times.

        weights (clients, examples)
        """


class ParametrisedLayer(Layer, LayerGradient):
    """A layer with parameters."""

    @abstractmethod
    def shapes(self) -> dict[str, Shape]: ...

    def initial(
        self, drawn: dict[str, Tensor], spread: Callable[[int], float]
    ) -> dict[str, Tensor]:
        """First values, from draws that are uniform in +- 1; spread tells their width by fan-in."""
        fan_in = prod(self.shapes()["weight"][1:])
        return {part: values * spread(fan_in) for part, values in drawn.items()}

    def products(self, outputs: Tensor) -> int:
        """How many weights are multiplied in one pass that ends in these outputs."""
        weight = self.shapes()["weight"]
        return prod(weight) * outputs.numel() // weight[0]
