"""Layers: the explicit passes against autograd, in float64 and on noise."""

from __future__ import annotations

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import grad, vmap

from lab.common.random_streams import random_stream
from lab.models.architectures import MODELS, Model
from lab.models.layers import (
    Block,
    Convolution,
    Dense,
    Flatten,
    Generic,
    GroupNorm,
    Last,
    Layer,
    MaxPool,
    ParametrisedLayer,
    Positions,
    Relu,
    Shape,
    Sigmoid,
)
from lab.models.network import Network
from lab.models.stacked_gradients import backward, clipped_step, flattened, gradient_step, stacked


class Wrapped(Model):
    """Torch's own modules: no layer that is written out has parameters."""

    kind: str = "wrapped"

    def layers(self, shape: Shape, classes: int) -> tuple[Layer, ...]:
        colours, height, width = shape
        return (
            Generic.of("first", nn.Conv2d(colours, 3, 3, padding=1)),
            Relu(),
            Generic.of("middle", nn.LayerNorm([3, height, width])),
            Flatten(),
            Generic.of("out", nn.Linear(3 * height * width, classes)),
        )


NETWORKS = [
    Network(MODELS["logistic"](), (22,), 2),
    Network(MODELS["mlp"](hidden=9), (1, 6, 7), 4),
    Network(MODELS["cnn"](channels=3, hidden=8), (1, 12, 10), 5),
    Network(MODELS["cnn"](channels=2, hidden=8), (3, 9, 8), 5),
    Network(MODELS["lenet"](), (1, 11, 10), 4),
    Network(MODELS["lenet"](), (3, 8, 9), 3),
    Network(MODELS["cnn"](channels=8, hidden=8, norm="group"), (1, 9, 8), 5),
    Network(Wrapped(), (2, 6, 5), 4),
    Network(MODELS["keyboard"](width=3, hidden=8), (6,), 5),
    Network(MODELS["transformer"](heads=2, each=3), (6,), 5),
]
NAMES = [f"{network.model.kind} {network.shape}" for network in NETWORKS]
# A layer, and the shape of one example.
LAYERS: list[tuple[Layer, tuple[int, ...]]] = [
    (Dense("one", 6, 4), (6,)),
    (Flatten(), (3, 4, 5)),
    (Relu(), (7,)),
    (Sigmoid(), (2, 3, 3)),
    (MaxPool(), (2, 6, 5)),
    (MaxPool(3), (1, 7, 9)),
    (Convolution("one", 1, 4), (1, 7, 6)),
    (Convolution("one", 3, 2, kernel=3), (3, 5, 6)),
    (Convolution("one", 2, 3, stride=2), (2, 7, 8)),
    (Convolution("one", 1, 2, kernel=3, stride=3), (1, 8, 7)),
    (GroupNorm("one", 6, 2), (6, 3, 4)),
    (GroupNorm("one", 3, 3), (3, 5, 2)),
    (GroupNorm("one", 4, 1), (4, 2, 2)),
    (Positions("one", 4, 3), (4, 3)),
    (Block("one", 6, 2, 5), (4, 6)),
    (Last(), (4, 3)),
    (Generic.of("one", nn.Conv2d(2, 3, 3, stride=2)), (2, 7, 6)),
    (Generic.of("one", nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))), (5,)),
]


def noise(*shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape))).double()


def stack_of(network: Network) -> tuple[int, Tensor, Tensor, Tensor]:
    """Clients, their models, their examples, their labels."""
    clients = 1 if any(layer.one_by_one for layer in network.layers) else 3
    labels = torch.arange(clients * 5).view(clients, 5) % network.classes
    inputs = noise(clients, 5, *network.shape)
    if "text" in network.model.reads:  # and words that come again
        inputs = inputs.mul(10).floor().remainder(network.classes)
    return clients, noise(clients, network.size) / 3, inputs, labels


def loss(network: Network, flat: Tensor, inputs: Tensor, labels: Tensor, shares: Tensor) -> Tensor:
    return F.cross_entropy(network(flat, inputs), labels, reduction="none") @ shares


def example_gradients(network: Network, models: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """By autograd.  -> (clients, examples, params)"""
    one = partial(loss, network, shares=torch.ones(1, dtype=models.dtype))

    def single(flat: Tensor, example: Tensor, label: Tensor) -> Tensor:
        return one(flat, example.unsqueeze(0), label.unsqueeze(0))

    found: Tensor = vmap(vmap(grad(single), (None, 0, 0)))(models, inputs, labels)
    return found


def parameters_of(layer: Layer) -> list[Tensor]:
    return [noise(1, *shape) for shape in layer.shapes().values()]


@pytest.mark.parametrize(("layer", "shape"), LAYERS, ids=lambda value: type(value).__name__)
def test_a_layer_passes_forward_and_back_as_autograd_does(
    layer: Layer, shape: tuple[int, ...]
) -> None:
    own, inputs = parameters_of(layer), noise(1, 4, *shape)
    inputs.requires_grad_(True)
    expected = layer([part[0] for part in own], inputs[0])
    slopes = noise(*expected.shape)
    expected.backward(slopes)
    with torch.no_grad():
        outputs, kept = layer.forward(own, inputs.detach().clone())
        back = layer.backward(own, kept, slopes.unsqueeze(0))
    assert torch.allclose(outputs[0], expected, atol=1e-12)
    assert inputs.grad is not None
    assert torch.allclose(back, inputs.grad, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS, ids=NAMES)
def test_a_step_is_the_one_that_autograd_takes(network: Network) -> None:
    clients, models, inputs, labels = stack_of(network)
    shares = torch.rand(clients, 5, dtype=torch.float64)
    expected = models - 0.3 * vmap(grad(partial(loss, network)))(models, inputs, labels, shares)
    stack = stacked(network, models)
    gradient_step(stack, backward(network, stack, inputs.clone(), labels, shares), 0.3)
    assert torch.allclose(flattened(stack), expected, atol=1e-12)


@pytest.mark.parametrize("network", NETWORKS, ids=NAMES)
def test_a_clipped_step_shortens_every_example_by_itself(network: Network) -> None:
    clients, models, inputs, labels = stack_of(network)
    each = example_gradients(network, models, inputs, labels)
    lengths = torch.linalg.vector_norm(each, dim=2)
    clip = float(lengths.median())
    shares = torch.rand(clients, 5, dtype=torch.float64)
    shares[0, 0] = 0  # padding
    weights = (clip / lengths).clamp(max=1) * shares
    expected = models - 0.3 * torch.einsum("ce,cep->cp", weights, each)
    stack = stacked(network, models)
    clipped_step(stack, backward(network, stack, inputs.clone(), labels), clip, shares, 0.3)
    assert torch.allclose(flattened(stack), expected, atol=1e-12)


WRITTEN_OUT = [
    (Dense("one", 6, 4), nn.Linear(6, 4), (6,)),
    (Convolution("one", 2, 3, kernel=3), nn.Conv2d(2, 3, 3, padding=1), (2, 5, 4)),
    (GroupNorm("one", 6, 3), nn.GroupNorm(3, 6), (6, 3, 4)),
]


@pytest.mark.parametrize(
    ("layer", "module", "shape"), WRITTEN_OUT, ids=lambda value: type(value).__name__
)
def test_what_is_written_out_and_the_generic_path_agree(
    layer: ParametrisedLayer, module: nn.Module, shape: tuple[int, ...]
) -> None:
    """Outputs, slopes, steps, and every example's length, to twelve digits."""
    generic, own = Generic.of("one", module), parameters_of(layer)
    inputs = noise(1, 4, *shape)
    found = []
    for each in (layer, generic):
        outputs, kept = each.forward(own, inputs.clone())
        slopes = noise(*outputs.shape)
        stepped, weighted = ([part.clone() for part in own] for _ in range(2))
        lengths, evidence = each.each(kept, slopes)
        back = each.backward(own, kept, slopes)
        each.descend(stepped, kept, slopes, 0.3)
        each.descend_weighted(weighted, evidence, noise(1, 4), 0.3)
        found.append([outputs, back, lengths, *stepped, *weighted])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, atol=1e-12)


def test_group_normalisation_begins_by_changing_nothing() -> None:
    network = Network(MODELS["cnn"](norm="group"), (1, 12, 12), 10)
    parts = network.split(network.initial(random_stream(0, "model")))
    assert (parts["first_norm.weight"] == 1).all()
    assert not parts["second_norm.bias"].any()
    assert 0 < parts["first.weight"].abs().max() <= 25**-0.5


@pytest.mark.parametrize("network", NETWORKS, ids=NAMES)
def test_a_stack_is_a_copy_and_comes_back_whole(network: Network) -> None:
    models = noise(2, network.size)
    stack = stacked(network, models)
    assert torch.equal(flattened(stack), models)
    for own in stack:
        for part in own:
            part.zero_()
    assert models.abs().sum() > 0


def test_clients_of_a_stack_do_not_touch_each_other() -> None:
    network = NETWORKS[1]
    _, models, inputs, labels = stack_of(network)
    shares = torch.ones(3, 5, dtype=torch.float64)
    whole, alone = stacked(network, models), stacked(network, models[1:2])
    gradient_step(whole, backward(network, whole, inputs, labels, shares), 0.1)
    gradient_step(alone, backward(network, alone, inputs[1:2], labels[1:2], shares[1:2]), 0.1)
    assert torch.allclose(flattened(whole)[1], flattened(alone)[0], atol=1e-14)
