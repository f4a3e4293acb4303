"""Passes: forward through a stack of models and back, without autograd."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.models.layers import Layer, LayerGradient, Parameters, ParametrisedLayer
from lab.models.network import Network

StackedParameters = list[
    list[Tensor]
]  # the parameters of each layer, with a leading dimension of clients


def stacked(network: Network, rows: Tensor) -> StackedParameters:
    """rows (clients, params) -> copies in the shape of each parameter"""
    parts = network.split(rows)
    copies = {
        name: part.clone(memory_format=torch.contiguous_format) for name, part in parts.items()
    }
    return network.owned(copies)


def head(stack: StackedParameters, clients: int) -> StackedParameters:
    """The first clients, as views."""
    return [[part[:clients] for part in own] for own in stack]


def flattened(stack: StackedParameters) -> Tensor:
    """The inverse of `stacked`.  -> (clients, params)"""
    return torch.cat([part.flatten(1) for own in stack for part in own], dim=1)


@dataclass(frozen=True, eq=False)
class LayerGradients:
    """What the gradient of one layer's parameters is made of."""

    place: int  # of the layer
    layer: LayerGradient
    kept: Any
    slopes: Tensor  # (clients, examples, ...) of each example's own loss, by the layer's outputs


def backward(
    network: Network,
    stack: StackedParameters,
    inputs: Tensor,
    labels: Tensor,
    factors: Tensor | None = None,
) -> list[LayerGradients]:
    """The layers with parameters, last to first, after a pass through the cross-entropy and back.

    inputs (clients, examples, *shape), labels and factors (clients, examples): each example's loss
    counts `factors` times.
    """
    kept: list[Any] = []
    outputs = inputs
    for layer, own in zip(network.layers, stack, strict=True):
        outputs, needed = layer.forward(own, outputs)
        kept.append(needed)
    exact = outputs.float() if outputs.dtype == torch.bfloat16 else outputs
    slopes = torch.softmax(exact, dim=2)
    slopes.scatter_add_(
        2, labels.unsqueeze(2), slopes.new_full((1, 1, 1), -1).expand(*labels.shape, 1)
    )
    if factors is not None:
        slopes *= factors.unsqueeze(2)
    return list(_back(network.layers, stack, kept, slopes.to(outputs.dtype)))


def _back(
    layers: Sequence[Layer], stack: Sequence[Parameters], kept: Sequence[Any], slopes: Tensor
) -> list[LayerGradients]:
    first = next(place for place, own in enumerate(stack) if own)
    found: list[LayerGradients] = []
    for place in range(len(layers) - 1, first - 1, -1):
        layer = layers[place]
        if isinstance(layer, ParametrisedLayer):
            found.append(LayerGradients(place, layer, kept[place], slopes))
        if place > first:  # nobody asks for the slopes of the data
            slopes = layer.backward(stack[place], kept[place], slopes)
    return found


def rounded(stack: StackedParameters, precision: torch.dtype) -> StackedParameters:
    """The same parameters in another precision; the very same where it is theirs already."""
    return [[part.to(precision) for part in own] for own in stack]


def gradient_step(stack: StackedParameters, found: Sequence[LayerGradients], rate: float) -> None:
    """A step against the sum of the examples' gradients, in place."""
    for visit in found:
        visit.layer.descend(stack[visit.place], visit.kept, visit.slopes, rate)


def proximal_step(
    changing: StackedParameters,
    training: StackedParameters,
    anchor: StackedParameters,
    pull: float,
    push: StackedParameters | None,
    rate: float,
) -> None:
    """A step of `changing` against push + pull * (training - anchor), in place.

    anchor: of each client, or of one for all
    """
    for place, own in enumerate(changing):
        for part, parameter in enumerate(own):
            if pull:
                away = training[place][part] - anchor[place][part]
                parameter.sub_(away, alpha=rate * pull)
            if push:
                parameter.sub_(push[place][part], alpha=rate)


def clipped_step(
    stack: StackedParameters,
    found: Sequence[LayerGradients],
    clip: float,
    shares: Tensor,
    rate: float,
    per_layer: bool = False,
) -> None:
    """A step against the sum of the examples' gradients, each shortened to `clip`, in place.

    shares (clients, examples): how much each one counts.  No gradient of a dense layer is formed
    (Li et al. 2021, arXiv:2110.05679, section 4).

    per_layer: each of M layers is shortened to clip / sqrt(M), and the whole is as short (McMahan
    et al. 2018, arXiv:1710.06963, per-layer clipping)
    """
    each = [visit.layer.each(visit.kept, visit.slopes) for visit in found]
    squares = torch.stack([square for square, _ in each])  # (layers, clients, examples)
    if not per_layer:
        squares = squares.sum(dim=0, keepdim=True)
    bound = clip / len(found) ** 0.5 if per_layer else clip
    weights = (bound / squares.sqrt().clamp_min(1e-12)).clamp_max(1) * shares
    for visit, (_, evidence), mine in zip(
        found, each, weights.expand(len(found), -1, -1), strict=True
    ):
        visit.layer.descend_weighted(stack[visit.place], evidence, mine, rate)
