"""Per-layer clipping: each of M layers to clip / sqrt(M), and the whole is never longer."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses import UPDATE_TRANSFORMS
from lab.common.random_streams import random_stream
from lab.engine.client.cohort_trainer import cohort_of
from lab.engine.differential_privacy.update_transforms import privacy_transforms
from lab.engine.round import Round
from lab.engine.run import initial_state
from lab.models.architectures import MODELS, Model
from lab.models.network import Network
from lab.models.stacked_gradients import backward, clipped_step, flattened, stacked
from tests.engine.differential_privacy.test_dp_sgd import SHAPE, noise_pictures
from tests.support.data import PICTURE_MODELS
from tests.support.private_runs import CLIENTS

ARCHITECTURES = {name: MODELS[name]() for name in PICTURE_MODELS} | {
    "normalised": MODELS["cnn"].model_validate({"kind": "cnn", "norm": "group"})
}
every_model = pytest.mark.parametrize("model", ARCHITECTURES.values(), ids=list(ARCHITECTURES))


def layers_of(rows: Tensor, network: Network) -> tuple[Tensor, ...]:
    return rows.split(network.sizes(network.size), dim=1)


@every_model
def test_the_layers_are_all_of_the_row(model: Model) -> None:
    network = Network(model, SHAPE, 10)
    sizes = network.sizes(network.size)
    assert sum(sizes) == network.size
    assert len(sizes) == len(network.trained)
    for last in range(1, len(sizes)):
        assert network.sizes(network.places(last)) == sizes[:-last]


@given(size=st.floats(1e-3, 1e3), bound=st.floats(1e-2, 1e2), seed=st.integers(0, 10**6))
def test_no_row_and_no_layer_is_too_long(size: float, bound: float, seed: int) -> None:
    now = CLIENTS.changed(
        {"privacy.per_layer": True, "privacy.clip": bound, "model.kind": "mlp", "model.hidden": 3}
    )
    network, party = now.architecture, cohort_of(now, 1, (0, 1, 2, 3))
    rows = size * torch.randn(4, network.size, generator=torch.manual_seed(seed))
    clipped = privacy_transforms(now, Round.begin(initial_state(now)).clipping, "client")[0](
        rows, party
    )
    assert float(clipped.norm(dim=1).max()) <= bound * (1 + 1e-6)
    pairs = zip(layers_of(rows, network), layers_of(clipped, network), strict=True)
    for before, after in pairs:
        lengths = before.norm(dim=1, keepdim=True)
        wanted = before * (bound / 2**0.5 / lengths).clamp_max(1)
        assert torch.allclose(after, wanted, rtol=1e-5, atol=0)


def test_an_algorithm_that_shares_some_layers_clips_those() -> None:
    now = CLIENTS.changed(
        {"privacy.per_layer": True, "model.kind": "mlp", "training.algorithm.kind": "fedper"}
    )
    shared = now.training.algorithm.shared(now.architecture)
    assert cohort_of(now, 1, (0,)).layers == (shared,)
    assert shared < now.architecture.size


def test_one_layer_is_the_whole() -> None:
    rows, party = torch.randn(5, 7, generator=torch.manual_seed(0)), cohort_of(CLIENTS, 1, (0,) * 5)
    whole = UPDATE_TRANSFORMS["clip"]()(rows.repeat(1, 94)[:, :650], party)
    assert party.layers == (650,)
    assert torch.equal(
        whole, UPDATE_TRANSFORMS["clip"](per_layer=True)(rows.repeat(1, 94)[:, :650], party)
    )


# --- of each example ------------------------------------------------------------------------------


def slow_slopes(
    network: Network, flat: Tensor, inputs: Tensor, labels: Tensor, clip: float
) -> Tensor:
    """Each gradient by itself, layer by layer; their sum."""
    total = torch.zeros_like(flat)
    for one, label in zip(inputs, labels, strict=True):
        leaf = flat.clone().requires_grad_()
        loss = F.cross_entropy(network(leaf, one.unsqueeze(0)), label.unsqueeze(0))
        (slope,) = torch.autograd.grad(loss, leaf)
        layers = slope.split(network.sizes(network.size))
        bound = clip / len(layers) ** 0.5
        short = torch.cat([each * min(1.0, bound / float(each.norm())) for each in layers])
        assert float(short.norm()) <= clip * (1 + 1e-6)
        total += short
    return total


@every_model
@pytest.mark.parametrize("clip", [0.05, 2.0, 1000.0])
def test_every_example_is_clipped_layer_by_layer(model: Model, clip: float) -> None:
    network = Network(model, SHAPE, 10)
    flat, (inputs, labels) = network.initial(random_stream(0, "model")), noise_pictures(1, 9)
    stack, target = stacked(network, flat[None]), stacked(network, torch.zeros_like(flat)[None])
    found = backward(network, stack, inputs[None].clone(), labels[None])
    clipped_step(target, found, clip, torch.ones(1, 9), -1.0, per_layer=True)
    slow = slow_slopes(network, flat, inputs, labels, clip)
    assert torch.allclose(flattened(target)[0], slow, atol=1e-5, rtol=1e-4)
