"""Example-level privacy: a coin for every example, and steps against a slow loop and Opacus."""

from __future__ import annotations

from collections import OrderedDict
from math import ceil

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab import Experiment, run
from lab.common.random_streams import random_stream
from lab.engine.client.batches import batches
from lab.engine.client.local_training import train_cohort
from lab.engine.data.federation import federated_dataset
from lab.engine.differential_privacy.dp_sgd import DpSgdMechanism
from lab.engine.run import initial_state
from lab.interfaces.federated_algorithm import LocalTask
from lab.models.architectures import MODELS
from lab.models.inputs import as_floats
from lab.models.network import Network
from lab.models.stacked_gradients import backward, clipped_step, flattened, stacked
from tests.support.data import PICTURE_MODELS
from tests.support.private_runs import CLIENTS, correlation, is_normal, looks_like_coin_flips

EXAMPLE = CLIENTS.changed(
    {
        "data.clients": 4,
        "data.partition": {"kind": "quantity", "skew": 0.5},
        "data.examples": 200,
        "training.clients_per_round": 0,
        "training.batch_size": 10,
        "training.steps": 0,
        "privacy.kind": "example",
    }
)


# --- sampling of examples -------------------------------------------------------------------------


def test_examples_enter_a_batch_by_a_coin_of_their_own() -> None:
    chance, size = EXAMPLE.recipe.poisson, 35
    assert chance == 10 / 50
    found = [batch for round in range(600) for batch in batches(EXAMPLE, round, 2, size)]
    assert len(found) == 600 * 5
    drawn = np.zeros((len(found), size), dtype=bool)
    for row, batch in zip(drawn, found, strict=True):
        row[batch] = True
    assert looks_like_coin_flips(drawn, chance)


def test_all_clients_take_the_same_steps_under_example_privacy() -> None:
    sizes = federated_dataset(EXAMPLE).sizes.tolist()
    assert len(set(sizes)) > 1
    plans = [batches(EXAMPLE, 1, client, size) for client, size in enumerate(sizes)]
    assert {len(plan) for plan in plans} == {ceil(50 / 10)}
    assert not np.array_equal(np.concatenate(plans[0]), np.concatenate(plans[1]))


def test_without_privacy_every_example_is_used_once_a_pass() -> None:
    plain = EXAMPLE.changed({"privacy.kind": "none", "training.epochs": 2})
    found = np.concatenate(batches(plain, 1, 0, 35))
    assert np.bincount(found).tolist() == [2] * 35


# --- the gradient of each example -----------------------------------------------------------------

SHAPE = (3, 12, 12)


def twins() -> dict[str, OrderedDict[str, nn.Module]]:
    """The same architectures for inputs of SHAPE, as users of PyTorch write them."""
    return {
        "logistic": OrderedDict(flatten=nn.Flatten(), out=nn.Linear(432, 10)),
        "mlp": OrderedDict(
            flatten=nn.Flatten(),
            hidden=nn.Linear(432, 64),
            relu=nn.ReLU(),
            out=nn.Linear(64, 10),
        ),
        "cnn": OrderedDict(
            first=nn.Conv2d(3, 16, 5, padding=2),
            first_relu=nn.ReLU(),
            first_pool=nn.MaxPool2d(2),
            second=nn.Conv2d(16, 32, 5, padding=2),
            second_relu=nn.ReLU(),
            second_pool=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            hidden=nn.Linear(32 * 3 * 3, 64),
            relu=nn.ReLU(),
            out=nn.Linear(64, 10),
        ),
        "lenet": OrderedDict(
            first=nn.Conv2d(3, 12, 5, padding=2, stride=2),
            first_sigmoid=nn.Sigmoid(),
            second=nn.Conv2d(12, 12, 5, padding=2, stride=2),
            second_sigmoid=nn.Sigmoid(),
            third=nn.Conv2d(12, 12, 5, padding=2),
            third_sigmoid=nn.Sigmoid(),
            flatten=nn.Flatten(),
            out=nn.Linear(12 * 3 * 3, 10),
        ),
    }


def noise_pictures(seed: int, examples: int) -> tuple[Tensor, Tensor]:
    """Pictures of noise: on flat ones, ties in max pooling let two right engines differ."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.rand(examples, *SHAPE, generator=generator)
    return inputs, torch.randint(0, 10, (examples,), generator=generator)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing:UserWarning")
@pytest.mark.parametrize("name", PICTURE_MODELS)
def test_the_gradient_of_each_example_is_what_opacus_says(name: str) -> None:
    from opacus.grad_sample import GradSampleModule

    network = Network(MODELS[name](), SHAPE, 10)
    model, (inputs, labels) = network.initial(random_stream(0, "model")), noise_pictures(1, 9)
    twin = nn.Sequential(twins()[name])
    twin.load_state_dict(network.split(model))
    watched = GradSampleModule(twin, loss_reduction="sum")
    logits = watched(inputs)
    assert torch.allclose(logits, network(model, inputs), atol=1e-5)
    F.cross_entropy(logits, labels, reduction="sum").backward()
    theirs = {name: part.grad_sample.flatten(1) for name, part in twin.named_parameters()}
    ours = torch.stack([gradient_of(network, model, inputs, labels, place) for place in range(9)])
    for part, (place, _) in network.slots.items():
        assert torch.allclose(ours[:, place], theirs[part], atol=1e-5), part
    assert set(theirs) == set(network.slots)


def gradient_of(
    network: Network, model: Tensor, inputs: Tensor, labels: Tensor, place: int
) -> Tensor:
    """One example's gradient, as a private step takes it.  -> (params,)"""
    stack, target = stacked(network, model[None]), stacked(network, torch.zeros_like(model)[None])
    only = (torch.arange(len(labels)) == place).float()[None]
    found = backward(network, stack, inputs[None].clone(), labels[None])
    clipped_step(target, found, 1e9, only, -1.0)
    return flattened(target)[0]


# --- a private step -------------------------------------------------------------------------------


def slow_slopes(
    now: Experiment, model: Tensor, inputs: Tensor, labels: Tensor, size: int
) -> Tensor:
    """Each gradient by itself, clipped; the sum over the expected batch."""
    total = torch.zeros_like(model)
    for one, label in zip(inputs, labels, strict=True):
        flat = model.clone().requires_grad_()
        logits = now.architecture(flat, one.unsqueeze(0))
        (slope,) = torch.autograd.grad(F.cross_entropy(logits, label.unsqueeze(0)), flat)
        total += slope * min(1.0, now.privacy.clip / float(slope.norm()))
    return total / (size * 10 / 50)


def private_slopes(
    noise: float, size: int, inputs: Tensor, labels: Tensor, clip: float = 0.4
) -> tuple[Tensor, Tensor]:
    """A private step, and the slow loop's without noise."""
    now = EXAMPLE.changed({"privacy.clip": clip})
    model = initial_state(now).model
    fast = step_of(guard(now, noise, size), model, inputs, labels)
    return fast, slow_slopes(now, model, inputs, labels, size)


def guard(now: Experiment, noise: float, size: int) -> DpSgdMechanism:
    return DpSgdMechanism(now, noise, torch.tensor([size]), [random_stream(0, "noise of a test")])


def step_of(guard: DpSgdMechanism, model: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """What a private step takes away from the model, for a rate of 1.  -> (params,)"""
    network = guard.now.architecture
    stack, target = stacked(network, model[None]), stacked(network, torch.zeros_like(model)[None])
    found = backward(network, stack, inputs[None].clone(), labels[None]) if len(labels) else []
    guard.descend(target, found, torch.ones(1, len(labels)))
    return -flattened(target)[0] / guard.now.training.rate


def digits(count: int) -> tuple[Tensor, Tensor]:
    federation = federated_dataset(EXAMPLE)
    return as_floats(federation.inputs[:count]), federation.labels[:count]


@pytest.mark.parametrize("examples", [0, 1, 32, 37])
@pytest.mark.parametrize("clip", [0.4, 3.0, 1000.0])
def test_a_private_step_is_the_mean_of_clipped_gradients(examples: int, clip: float) -> None:
    fast, slow = private_slopes(0.0, 40, *digits(examples), clip)
    assert torch.allclose(fast, slow, atol=1e-5)


def test_no_example_moves_a_private_step_by_more_than_the_clip() -> None:
    inputs, labels = digits(20)
    fast, _ = private_slopes(0.0, 40, inputs, labels)
    for gone in range(20):
        kept = [place for place in range(20) if place != gone]
        without, _ = private_slopes(0.0, 40, inputs[kept], labels[kept])
        moved = float((fast - without).norm())
        assert 0 < moved <= 0.4 / 8 * (1 + 1e-4)  # 40 examples, of which 8 are expected


@pytest.mark.parametrize("examples", [0, 20])
def test_noise_on_a_private_step_is_a_multiple_of_the_clip(examples: int) -> None:
    noisy, bare = private_slopes(1.5, 40, *digits(examples))
    assert is_normal(noisy - bare, 1.5 * 0.4 / 8)


def test_every_private_step_has_noise_of_its_own() -> None:
    model = initial_state(EXAMPLE).model
    private = guard(EXAMPLE, 1.0, 40)
    nobody = torch.zeros(0, 1, 8, 8), torch.zeros(0, dtype=torch.int64)
    one, other = (step_of(private, model, *nobody) for _ in range(2))
    assert abs(correlation(one, other)) < 5 / len(model) ** 0.5


# --- example-level privacy as a whole -------------------------------------------------------------


def test_local_training_under_example_privacy_is_dp_sgd_step_by_step() -> None:
    now = EXAMPLE.changed({"privacy.noise": 1e-6})
    federation, model = federated_dataset(now), initial_state(now).model
    updates = train_cohort(now, 1, range(4), LocalTask(model))
    for client, row in enumerate(updates.rows):
        held = federation.held(client)
        change = torch.zeros_like(model)
        for batch in batches(now, 1, client, len(held)):
            inputs = as_floats(federation.inputs[held[batch]])
            labels = federation.labels[held[batch]]
            change -= 0.5 * slow_slopes(now, model + change, inputs, labels, len(held))
        assert torch.allclose(row, change, atol=1e-5)


def test_every_clients_noise_fits_its_own_number_of_examples() -> None:
    """One step, with and without noise: the difference is the noise, times the rate."""
    loud = EXAMPLE.changed({"training.steps": 1, "privacy.noise": 2.0})
    still, model = loud.changed({"privacy.noise": 1e-6}), initial_state(loud).model
    noisy, bare = (
        train_cohort(loud, 1, range(4), LocalTask(model)),
        train_cohort(still, 1, range(4), LocalTask(model)),
    )
    added = noisy.rows - bare.rows
    for one, size in zip(added, noisy.sizes.tolist(), strict=True):
        assert is_normal(one, 0.5 * 2.0 * 0.4 / (size * 10 / 50))
    for client in range(3):
        assert abs(correlation(added[client], added[3])) < 5 / len(model) ** 0.5


def test_a_run_under_example_privacy_repeats_itself() -> None:
    small = EXAMPLE.changed({"training.rounds": 2})
    one, other = list(run(small)), list(run(small))
    assert [moment.record for moment in one] == [moment.record for moment in other]
    assert one[1].record.epsilon is not None
    assert one[0].record.epsilon is not None
    assert one[1].record.epsilon > one[0].record.epsilon
