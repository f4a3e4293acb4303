"""Opacus as the other backend: the same gradients, and the same records."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import nn

from lab import run
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.models.architectures import Model
from lab.models.layers import Dense, Flatten, Generic
from lab.models.network import Network
from lab.models.opacus_gradients import sampled_visits
from lab.models.stacked_gradients import backward, stacked
from lab.models.torch_modules import torch_module
from tests.engine.differential_privacy.test_dp_sgd import EXAMPLE, SHAPE, noise_pictures
from tests.engine.differential_privacy.test_layer_clipping import ARCHITECTURES, every_model


@every_model
def test_the_twin_is_the_same_function(model: Model) -> None:
    network = Network(model, SHAPE, 10)
    flat, (inputs, _) = network.initial(random_stream(0, "model")), noise_pictures(2, 5)
    module = torch_module(network.layers)
    assert list(module.state_dict()) == list(network.slots)
    module.load_state_dict(network.split(flat))
    assert torch.allclose(module(inputs), network(flat, inputs), atol=1e-6)


@every_model
def test_the_gradient_of_each_example_is_what_opacus_says(model: Model) -> None:
    """Of two clients at once where the engine can, and one by one where it cannot."""
    network = Network(model, SHAPE, 10)
    clients = 1 if any(layer.one_by_one for layer in network.layers) else 2
    flats = torch.stack([network.initial(random_stream(one, "model")) for one in range(clients)])
    batches = [noise_pictures(one, 6) for one in range(clients)]
    inputs, labels = (torch.stack(parts) for parts in zip(*batches, strict=True))
    ours = backward(network, stacked(network, flats), inputs.clone(), labels)
    theirs = sampled_visits(network, stacked(network, flats), inputs, labels)
    for mine, other in zip(ours, theirs, strict=True):
        shapes = network.layers[mine.place].shapes()
        assert (mine.place, mine.layer.name) == (other.place, other.layer.name)
        squares, evidence = mine.layer.each(mine.kept, mine.slopes)
        known, gradients = other.layer.each(other.kept, other.slopes)
        assert torch.allclose(squares.sqrt(), known.sqrt(), atol=1e-5)
        for example in range(6):
            only = torch.zeros(clients, 6)
            only[:, example] = 1
            steps = []
            for visit, found in ((mine, evidence), (other, gradients)):
                own = [torch.zeros(clients, *shape) for shape in shapes.values()]
                visit.layer.descend_weighted(own, found, only, -1.0)
                steps.append(own)
            for one, two in zip(*steps, strict=True):
                assert torch.allclose(one, two, atol=1e-5)


@every_model
@pytest.mark.parametrize("per_layer", [False, True])
def test_records_agree_whatever_computes_the_gradients(model: Model, per_layer: bool) -> None:
    now = EXAMPLE.changed(
        {"model": model.dump(), "training.rounds": 3, "training.steps": 2, "privacy.noise": 0.5,
         "privacy.per_layer": per_layer}
    )  # fmt: skip
    ours, theirs = (
        list(run(now.changed({"privacy.backend": backend}))) for backend in ("engine", "opacus")
    )
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.record.accuracy == pytest.approx(other.record.accuracy, abs=1e-4)
        assert mine.record.loss == pytest.approx(other.record.loss, abs=1e-4)
        assert mine.record.norms == pytest.approx(other.record.norms, rel=1e-4)
        assert mine.record.epsilon == other.record.epsilon
    assert all(one.record.loss != two.record.loss for one, two in pairwise(ours))


@pytest.mark.parametrize("kind", ["fedprox", "fedper", "fedadam"])
def test_other_algorithms_can_use_it_too(kind: str) -> None:
    now = EXAMPLE.changed(
        {"model.kind": "mlp", "training.rounds": 2, "privacy.noise": 0.5,
         "training.algorithm": kind}
    )  # fmt: skip
    ours, theirs = (
        list(run(now.changed({"privacy.backend": backend})))[-1].record
        for backend in ("engine", "opacus")
    )
    assert ours.loss == pytest.approx(theirs.loss, abs=1e-4)


def test_the_backend_can_change_in_mid_run() -> None:
    changed = EXAMPLE.changed({"training.rounds": 3}).changed_from(2, {"privacy.backend": "opacus"})
    usual = list(run(EXAMPLE.changed({"training.rounds": 3})))
    for mine, other in zip(usual, run(changed), strict=True):
        assert mine.record.loss == pytest.approx(other.record.loss, abs=1e-4)


def test_a_layer_that_opacus_cannot_be_given_is_refused() -> None:
    own = Generic.of("own", nn.Linear(4, 3))
    with pytest.raises(SettingError, match="knows no module for the layer own"):
        torch_module([Flatten(), Dense("first", 4, 4), own])
    pictured = {kind for kind, model in Model.table.items() if "pictures" in model.reads}
    assert set(ARCHITECTURES) >= pictured
