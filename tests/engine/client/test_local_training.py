"""Local training: the whole cohort at once against a slow loop that follows the pseudocode."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from lab.engine.client.batches import batches, touched
from lab.engine.client.local_training import train_cohort
from lab.engine.data.federation import federated_dataset
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import GradientCorrection, LocalTask
from lab.models.architectures import MODELS
from lab.models.inputs import as_floats
from lab.models.network import Network
from tests.support.data import PICTURE_MODELS

SMALL = {
    "data": {"source": "digits", "clients": 7, "partition": {"kind": "quantity", "skew": 1.0}},
    "training": {"epochs": 2, "batch_size": 16, "rate": 0.1},
}


def experiment(**settings: object) -> Experiment:
    return Experiment.read(SMALL).changed(
        {path.replace("__", "."): value for path, value in settings.items()}
    )


def slow(
    now: Experiment, round: int, client: int, model: Tensor, pull: float = 0.0, push: float = 0.0
) -> Tensor:
    """McMahan 2017, algorithm 1, ClientUpdate, one client and one batch after the other."""
    federation = federated_dataset(now)
    held = federation.held(client)
    flat = model.clone().requires_grad_(True)
    for batch in batches(now, round, client, len(held)):
        picked = held[torch.from_numpy(batch)]
        inputs, labels = as_floats(federation.inputs[picked]), federation.labels[picked]
        loss = F.cross_entropy(now.architecture(flat, inputs.to(flat.dtype)), labels)
        (slope,) = torch.autograd.grad(loss, flat)
        slope = slope + push + pull * (flat - model)
        flat = (flat - now.training.rate * slope).detach().requires_grad_(True)
    return (flat - model).detach()


@pytest.mark.parametrize("kind", PICTURE_MODELS)
def test_a_cohort_trains_as_a_slow_loop_does(kind: str) -> None:
    """Unequal sizes and partial batches included."""
    now = experiment(model__kind=kind)
    model = initial_state(now).model
    rows = train_cohort(now, 1, range(7), LocalTask(model)).rows
    for client in range(7):
        assert torch.allclose(rows[client], slow(now, 1, client, model), atol=1e-5)


@pytest.mark.parametrize("kind", ["logistic", "mlp", "lenet"])
def test_in_float64_it_does_so_to_ten_digits(kind: str) -> None:
    now = experiment(model__kind=kind)
    model = initial_state(now).model.double()
    rows = train_cohort(now, 1, range(7), LocalTask(model)).rows
    for client in range(7):
        assert torch.allclose(rows[client], slow(now, 1, client, model), atol=1e-10)


@pytest.mark.parametrize("settings", [{}, {"training__steps": 1}, {"model__kind": "lenet"}])
def test_a_drift_is_part_of_every_step(settings: dict[str, object]) -> None:
    """Of each client its own push, in blocks of unequal length; and one pull for all."""
    now = experiment(**settings)
    model = initial_state(now).model.double()
    pushes = torch.arange(7, dtype=torch.float64).unsqueeze(1).expand(7, len(model)) / 100
    rows = train_cohort(now, 1, range(7), LocalTask(model, GradientCorrection(0.7, pushes))).rows
    for client in range(7):
        expected = slow(now, 1, client, model, 0.7, client / 100)
        assert torch.allclose(rows[client], expected, atol=1e-10)


def test_one_step_on_one_batch_is_the_gradient_to_the_last_digit() -> None:
    """An update that lost digits to the size of the weights would blind the attacks."""
    now = experiment(training__steps=1, training__rate=1e-4)
    model = initial_state(now).model
    row = train_cohort(now, 1, [0], LocalTask(model)).rows[0]
    flat = model.double().requires_grad_(True)
    federation = federated_dataset(now)
    held = federation.held(0)
    picked = held[torch.from_numpy(batches(now, 1, 0, len(held))[0])]
    inputs, labels = as_floats(federation.inputs[picked]).double(), federation.labels[picked]
    (slope,) = torch.autograd.grad(F.cross_entropy(now.architecture(flat, inputs), labels), flat)
    assert torch.allclose(row.double(), -1e-4 * slope, rtol=1e-3, atol=1e-9 * slope.abs().max())


def test_what_a_client_does_does_not_depend_on_who_else_takes_part() -> None:
    now = experiment()
    model = initial_state(now).model
    together = train_cohort(now, 3, range(7), LocalTask(model)).rows
    alone = train_cohort(now, 3, [4], LocalTask(model)).rows
    assert torch.allclose(together[4], alone[0], atol=1e-6)


def test_a_client_without_examples_sends_nothing_new() -> None:
    now = experiment(
        data__source="heart", data__partition={"kind": "natural"}, data__clients=4, data__examples=4
    )
    sizes = federated_dataset(now).sizes
    assert 0 in sizes.tolist(), "this seed leaves a hospital without patients"
    rows = train_cohort(now, 1, range(4), LocalTask(initial_state(now).model)).rows
    assert rows[sizes == 0].abs().max() == 0
    assert rows[sizes > 0].abs().amax(dim=1).min() > 0


def test_a_private_client_without_examples_sends_nothing_new() -> None:
    now = experiment(
        data__source="heart", data__partition={"kind": "natural"},
        data__clients=4, data__examples=4, privacy__kind="example", privacy__noise=1.0,
    )  # fmt: skip
    rows = train_cohort(now, 1, range(4), LocalTask(initial_state(now).model)).rows
    assert rows.isfinite().all()
    assert rows[federated_dataset(now).sizes == 0].abs().max() == 0


@pytest.mark.parametrize(("epochs", "cap", "steps"), [(1, 0, 4), (3, 0, 12), (3, 5, 5), (1, 9, 4)])
def test_local_steps_are_epochs_of_batches_under_a_cap(epochs: int, cap: int, steps: int) -> None:
    now = experiment(training__epochs=epochs, training__steps=cap)
    found = batches(now, 1, 0, size=55)
    assert len(found) == steps == now.recipe.local_steps(55)
    assert [len(batch) for batch in found[:4]] == [16, 16, 16, 7]


def test_an_epoch_has_as_many_batches_as_whole_numbers_say() -> None:
    """Through floats, 49 examples in batches of one would be 50 steps."""
    for size in range(1, 200):
        for batch_size in (1, 3, 7, 32):
            steps = experiment(training__epochs=1, training__batch_size=batch_size).recipe
            assert steps.local_steps(size) == (size + batch_size - 1) // batch_size


def test_an_epoch_uses_every_example_once() -> None:
    found = batches(experiment(training__epochs=1), 1, 0, size=55)
    assert sorted(torch.cat([torch.from_numpy(batch) for batch in found]).tolist()) == list(
        range(55)
    )


def test_batches_differ_by_round_and_client_and_come_back() -> None:
    now = experiment()
    draws = {tuple(batches(now, round, client, 55)[0]) for round in range(3) for client in range(3)}
    assert len(draws) == 9
    assert tuple(batches(now, 2, 1, 55)[0]) in draws


def test_touched_examples_are_those_of_the_batches() -> None:
    now = experiment(training__steps=1, training__batch_size=3)
    assert touched(now, 1, 0, 55).tolist() == sorted(batches(now, 1, 0, 55)[0].tolist())
    assert touched(now, 1, 0, 0).tolist() == []


@pytest.mark.parametrize("kind", PICTURE_MODELS)
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 25, 25), (3, 32, 32), (1, 28, 28)])
def test_models_fit_pictures_of_any_size(kind: str, shape: tuple[int, ...]) -> None:
    import numpy as np

    network = Network(MODELS[kind](), shape, 7)
    flat = network.initial(np.random.default_rng(0))
    assert flat.shape == (network.size,)
    assert network(flat, torch.rand(5, *shape)).shape == (5, 7)
    assert sum(part.numel() for part in network.split(flat).values()) == network.size


def test_initial_weights_are_pytorchs_default() -> None:
    import numpy as np

    network = Network(MODELS["mlp"](), (1, 28, 28), 10)
    of = network.split(network.initial(np.random.default_rng(0)))
    assert of["hidden.weight"].abs().max() <= 784**-0.5
    assert of["hidden.weight"].std() == pytest.approx(784**-0.5 / 3**0.5, rel=0.02)
    assert of["out.bias"].abs().max() <= 64**-0.5
