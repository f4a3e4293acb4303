"""Any layer, through torch.func: slower than one written out, and exact all the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, vjp, vmap

from lab.models.layers.layer import Parameters, ParametrisedLayer, Shape

Kept = tuple[list[Tensor], Tensor]  # the parameters and the inputs


@dataclass(frozen=True)
class Generic(ParametrisedLayer):
    """A function of its parameters and of a batch in which no example sees another."""

    name: str
    parameters: tuple[tuple[str, Shape], ...]
    function: Callable[[Sequence[Tensor], Tensor], Tensor]

    @classmethod
    def of(cls, name: str, module: nn.Module) -> Generic:
        """Of a torch module without buffers; its own parameters are not used."""
        shapes = tuple((part, tuple(value.shape)) for part, value in module.named_parameters())

        def function(own: Sequence[Tensor], inputs: Tensor) -> Tensor:
            named = {part: value for (part, _), value in zip(shapes, own, strict=True)}
            outputs: Tensor = functional_call(module, named, (inputs,))
            return outputs

        return cls(name, shapes, function)

    def shapes(self) -> dict[str, Shape]:
        return dict(self.parameters)

    def __call__(self, own: Parameters, inputs: Tensor) -> Tensor:
        return self.function(own, inputs)

    def forward(self, own: Parameters, inputs: Tensor) -> tuple[Tensor, Kept]:
        kept = list(own), inputs
        outputs: Tensor = vmap(self.function)(*kept)
        return outputs, kept

    def backward(self, own: Parameters, kept: Kept, slopes: Tensor) -> Tensor:
        parts, inputs = kept
        found: Tensor = _slopes(lambda those: vmap(self.function)(parts, those), inputs, slopes)
        return found

    def descend(self, own: Parameters, kept: Kept, slopes: Tensor, rate: float) -> None:
        parts, inputs = kept
        gradients = _slopes(lambda those: vmap(self.function)(those, inputs), parts, slopes)
        for part, gradient in zip(own, gradients, strict=True):
            part.sub_(gradient, alpha=rate)

    def each(self, kept: Kept, slopes: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Every example's gradient, whole."""

        def of_one(parts: list[Tensor], example: Tensor, slope: Tensor) -> Any:
            return _slopes(
                lambda those: self.function(those, example.unsqueeze(0))[0], parts, slope
            )

        parts, inputs = kept
        of_client = vmap(of_one, in_dims=(None, 0, 0))
        gradients: list[Tensor] = vmap(of_client)(parts, inputs, slopes)
        squares = [gradient.flatten(2).square().sum(dim=2) for gradient in gradients]
        return torch.stack(squares).sum(dim=0), gradients

    def descend_weighted(
        self, own: Parameters, evidence: list[Tensor], weights: Tensor, rate: float
    ) -> None:
        for part, gradients in zip(own, evidence, strict=True):
            part.sub_(torch.einsum("ce,ce...->c...", weights, gradients), alpha=rate)


def _slopes(function: Callable[[Any], Tensor], at: Any, slopes: Tensor) -> Any:
    """Slopes by the outputs of `function` -> by what it was given."""
    back = vjp(function, at)[1]
    return back(slopes)[0]
