"""Tasks: what an algorithm may ask of a cohort, each against the slow way in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from lab.engine.client.local_training import train_centrally, train_cohort
from lab.engine.run import initial_state
from lab.experiment.experiment import Experiment
from lab.interfaces.federated_algorithm import GradientCorrection, LocalTask, ModelMixture
from tests.support.reference_training import all_of, batches_of, slope

NOW = Experiment.read(
    {
        "data": {"source": "digits", "clients": 5, "partition": {"kind": "quantity", "skew": 1.0}},
        "training": {"epochs": 2, "batch_size": 16, "rate": 0.1},
    }
)
MODEL = initial_state(NOW).model.double()
EVERYBODY = range(5)


def others(seed: int = 1) -> Tensor:
    """Another model for each client.  -> (clients, params)"""
    noise = torch.randn(5, len(MODEL), generator=torch.Generator().manual_seed(seed))
    return MODEL + 0.05 * noise.double()


def same(found: Tensor, wanted: Tensor) -> bool:
    return torch.allclose(found, wanted, atol=1e-10)


def test_every_client_may_start_elsewhere_and_be_pulled_to_one_place() -> None:
    starts = others()
    rows = train_cohort(
        NOW, 1, EVERYBODY, LocalTask(starts, GradientCorrection(pull=0.7), anchor=MODEL)
    ).rows
    for client in EVERYBODY:
        y = starts[client]
        for batch in batches_of(NOW, 1, client):
            y = y - 0.1 * (slope(NOW, y, batch) + 0.7 * (y - MODEL))
        assert same(rows[client], y - starts[client])


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_only_the_named_layers_move(kind: str) -> None:
    now = NOW.changed({"model.kind": kind})
    model = initial_state(now).model
    rows = train_cohort(now, 1, EVERYBODY, LocalTask(model, layers=("out",))).rows
    for name, (place, _) in now.architecture.slots.items():
        moved = rows[:, place].abs().amax(dim=1)
        assert (moved > 0).all() if name.startswith("out.") else not moved.any()


def test_named_layers_move_as_the_gradient_says() -> None:
    rows = train_cohort(NOW, 1, [2], LocalTask(MODEL, layers=("hidden",))).rows
    mask, y = torch.zeros(len(MODEL)).double(), MODEL
    for name, (place, _) in NOW.architecture.slots.items():
        mask[place] = float(name.startswith("hidden."))
    for batch in batches_of(NOW, 1, 2):
        y = y - 0.1 * mask * slope(NOW, y, batch)
    assert same(rows[0], y - MODEL)


def test_epochs_of_its_own() -> None:
    rows = train_cohort(NOW.changed({"training.steps": 1}), 1, [3], LocalTask(MODEL, epochs=3)).rows
    y = MODEL
    steps = 0
    for batch in batches_of(NOW, 1, 3, epochs=3):
        y, steps = y - 0.1 * slope(NOW, y, batch), steps + 1
    assert steps % 3 == 0
    assert same(rows[0], y - MODEL)


def test_one_step_on_everything_is_the_whole_gradient() -> None:
    rows = train_cohort(NOW, 1, EVERYBODY, LocalTask(MODEL, whole=True)).rows
    for client in EVERYBODY:
        assert same(rows[client], -0.1 * slope(NOW, MODEL, all_of(NOW, client)))


def test_looking_ahead_is_first_order_maml() -> None:
    """Fallah et al. 2020, algorithm 1 without the Hessian; each batch is dealt out to both uses."""
    rows = train_cohort(NOW, 1, EVERYBODY, LocalTask(MODEL, ahead=0.3)).rows
    for client in EVERYBODY:
        y = MODEL
        for inputs, labels in batches_of(NOW, 1, client):
            scouts = inputs[::2], labels[::2]
            rest = (inputs[1::2], labels[1::2]) if len(labels) > 1 else scouts
            there = y - 0.3 * slope(NOW, y, scouts)
            y = y - 0.1 * slope(NOW, there, rest)
        assert same(rows[client], y - MODEL)


@pytest.mark.parametrize("adapts", [False, True])
def test_a_mixture_is_trained_as_apfl_has_it(adapts: bool) -> None:
    """Deng et al. 2020, algorithm 1: the share follows its own derivative."""
    own, shares = others(), torch.tensor([0.0, 0.3, 0.5, 0.8, 1.0]).double()
    found = train_cohort(
        NOW, 1, EVERYBODY, LocalTask(MODEL, mixture=ModelMixture(own, shares, adapts))
    )
    assert found.mixture is not None
    for client in EVERYBODY:
        w, v, a = MODEL, own[client], shares[client]
        for batch in batches_of(NOW, 1, client):
            at_mixed = slope(NOW, a * v + (1 - a) * w, batch)
            after = v - 0.1 * a * at_mixed
            if adapts:
                a = (a - 0.1 * at_mixed @ (v - w)).clamp(0, 1)
            w, v = w - 0.1 * slope(NOW, w, batch), after
        assert same(found.rows[client], w - MODEL)
        assert same(found.mixture.own[client], v)
        assert same(found.mixture.share[client], a)
    assert torch.equal(own, others()), "what was given stays as it was"


def test_a_task_that_stays_is_not_noised() -> None:
    private = NOW.changed({"privacy.kind": "example", "privacy.noise": 5.0})
    loud, still = (
        train_cohort(private, 1, EVERYBODY, LocalTask(MODEL, stays=stays)).rows
        for stays in (False, True)
    )
    assert still.norm() < 0.2 * loud.norm()


def test_pooled_training_is_sgd_on_everything() -> None:
    """In one batch, whose order does not matter."""
    settings = {"data.examples": 600, "training.batch_size": 1024, "training.epochs": 3}
    now = NOW.changed(settings)
    inputs, labels = zip(*(all_of(now, client) for client in EVERYBODY), strict=True)
    everything, y = (torch.cat(inputs), torch.cat(labels)), MODEL
    assert len(everything[1]) == 600
    for _ in range(3):
        y = y - 0.1 * slope(now, y, everything)
    assert same(train_centrally(now, 1, MODEL), y - MODEL)


def test_pooled_training_shuffles_anew_in_every_round() -> None:
    assert not torch.equal(train_centrally(NOW, 1, MODEL), train_centrally(NOW, 2, MODEL))
