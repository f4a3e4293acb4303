"""Per-example gradients by Opacus (Yousefpour et al. 2021, arXiv:2109.12298), to check ours with.

Opacus passes through one model at a time, with autograd and hooks: slower, and independent of the
lab's own layers.  Clipping, batches and noise stay the engine's, so that nothing else differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.models.layers import LayerGradient, Parameters, ParametrisedLayer
from lab.models.network import Network
from lab.models.stacked_gradients import LayerGradients, StackedParameters
from lab.models.torch_modules import torch_module


@dataclass(frozen=True)
class Sampled(LayerGradient):
    """Of a layer whose gradients are known already, example by example."""

    name: str

    def descend(self, own: Parameters, kept: list[Tensor], slopes: Tensor, rate: float) -> None:
        self.descend_weighted(own, kept, torch.ones_like(kept[0].flatten(2)[..., 0]), rate)

    def each(self, kept: list[Tensor], slopes: Tensor) -> tuple[Tensor, list[Tensor]]:
        squares = [gradients.flatten(2).square().sum(dim=2) for gradients in kept]
        return torch.stack(squares).sum(dim=0), kept

    def descend_weighted(
        self, own: Parameters, evidence: list[Tensor], weights: Tensor, rate: float
    ) -> None:
        for part, gradients in zip(own, evidence, strict=True):
            part.sub_(torch.einsum("ce,ce...->c...", weights, gradients), alpha=rate)


def sampled_visits(
    network: Network, stack: StackedParameters, inputs: Tensor, labels: Tensor
) -> list[LayerGradients]:
    """What `visits` finds, last to first.  inputs (clients, examples, *shape)"""
    # A loop over clients, because Opacus knows one model only.
    clients = [
        dict(_gradients(network, [[part[place] for part in own] for own in stack], *batch))
        for place, batch in enumerate(zip(inputs, labels, strict=True))
    ]
    found: list[LayerGradients] = []
    for place, layer in enumerate(network.layers):
        if isinstance(layer, ParametrisedLayer):
            names = [f"{layer.name}.{part}" for part in layer.shapes()]
            kept = [torch.stack([client[name] for client in clients]) for name in names]
            known = Sampled(layer.name)
            found.append(LayerGradients(place, known, kept, inputs))
    return found[::-1]


def _gradients(
    network: Network, own: StackedParameters, inputs: Tensor, labels: Tensor
) -> Iterator[tuple[str, Tensor]]:
    """Of one client's examples, by the name of the parameter.  -> (examples, *shape)"""
    # Opacus takes a second to import, and most runs never need it.
    from opacus.grad_sample import GradSampleModule

    module = torch_module(network.layers).to(inputs.device)
    values = [part for parts in own for part in parts]
    module.load_state_dict(dict(zip(network.slots, values, strict=True)))
    watched = GradSampleModule(module, loss_reduction="sum")
    with torch.enable_grad():
        # Opacus hooks into layers by their inputs, so these must ask for a gradient.
        logits = watched(inputs.detach().requires_grad_())
        F.cross_entropy(logits, labels, reduction="sum").backward()
    for name, part in module.named_parameters():
        yield name, part.grad_sample  # type: ignore[attr-defined]  # Opacus left it there
