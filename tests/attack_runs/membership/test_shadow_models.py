"""Fleets: shadow models are trained once, and only whole ones are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
import torch
from torch import Tensor

from lab.attack_runs.membership import shadow_models
from lab.attack_runs.membership.candidates import select_candidates
from lab.attack_runs.membership.shadow_federations import shadow_rounds
from lab.attack_runs.membership.shadow_models import (
    Nothing,
    Progress,
    ShadowModels,
    keys,
    train_shadow_models,
)
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates
from lab.interfaces.privacy_attacks import AttackResources

EXPERIMENT = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 4,
        "data.examples": 200,
        "model.kind": "logistic",
        "training.rounds": 3,
    }
)


@dataclass
class Memory:
    """A cache that notes what it is asked for."""

    models: dict[str, Tensor] = field(default_factory=dict)

    def recall(self, key: str) -> Tensor | None:
        return self.models.get(key)

    def keep(self, key: str, model: Tensor) -> None:
        self.models[key] = model


def pool_of(experiment: Experiment) -> Candidates:
    return select_candidates(experiment, AttackResources(shadows=2)).pool


def fleet_of(progress: list[Progress]) -> ShadowModels:
    assert progress[-1].fleet is not None
    assert all(each.fleet is None for each in progress[:-1])
    return progress[-1].fleet


def test_a_fleet_is_what_its_shadows_end_with() -> None:
    pool = pool_of(EXPERIMENT)
    found = fleet_of(list(train_shadow_models(EXPERIMENT, 3, pool, [0, 1, 5], Nothing())))
    *_, last = shadow_rounds(EXPERIMENT, 3, pool, [0, 1, 5])
    assert torch.allclose(found.models, last.models, atol=1e-6)
    assert torch.equal(found.inside, last.inside)


def test_what_was_trained_is_not_trained_again() -> None:
    pool, cache = pool_of(EXPERIMENT), Memory()
    first = list(train_shadow_models(EXPERIMENT, 3, pool, range(4), cache))
    assert (first[-1].step, first[-1].steps, len(first)) == (3, 3, 4)
    (again,) = train_shadow_models(EXPERIMENT, 3, pool, range(4), cache)
    assert again.steps == 0
    assert torch.equal(fleet_of(first).models, fleet_of([again]).models)
    more = list(train_shadow_models(EXPERIMENT, 3, pool, range(6), cache))
    assert torch.equal(fleet_of(more).models[:4], fleet_of(first).models)
    assert len(cache.models) == 6


def test_stopped_in_mid_training_only_whole_models_are_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shadow_models, "AT_ONCE", 2)
    pool, cache = pool_of(EXPERIMENT), Memory()
    steps = train_shadow_models(EXPERIMENT, 3, pool, range(6), cache)
    seen = [next(steps) for _ in range(5)]
    steps.close()
    assert [(each.step, each.steps) for each in seen] == [(n, 9) for n in range(1, 6)]
    assert sorted(cache.models) == sorted(keys(EXPERIMENT, 3, pool, [0, 1]))
    found = fleet_of(list(train_shadow_models(EXPERIMENT, 3, pool, range(6), cache)))
    whole = fleet_of(list(train_shadow_models(EXPERIMENT, 3, pool, range(6), Nothing())))
    assert torch.equal(found.models, whole.models)


@pytest.mark.parametrize(
    "settings",
    [
        {"seed": 1},
        {"training.rate": 0.05},
        {"training.epochs": 2},
        {"model.kind": "mlp"},
        {"data.clients": 5},
        {"data.partition.kind": "dirichlet"},
        {"privacy.kind": "client", "privacy.noise": 0.5},
        {"network.dropout": 0.2},
    ],
)
def test_what_determines_a_shadow_is_in_its_key(settings: dict[str, object]) -> None:
    pool = pool_of(EXPERIMENT)
    assert keys(EXPERIMENT.changed(settings), 3, pool, [0]) != keys(EXPERIMENT, 3, pool, [0])


def test_round_number_and_every_example_are_in_its_key() -> None:
    pool = pool_of(EXPERIMENT)
    turned = Candidates(pool.inputs, pool.labels.roll(1))
    dotted = Candidates(pool.inputs.clone(), pool.labels)
    dotted.inputs[-1, 0, 3, 3] += 1
    named = [
        *keys(EXPERIMENT, 3, pool, [0, 1, 2]),
        *keys(EXPERIMENT, 2, pool, [0]),
        *keys(EXPERIMENT, 3, turned, [0]),
        *keys(EXPERIMENT, 3, dotted, [0]),
        *keys(EXPERIMENT.changed_from(3, {"training.rate": 0.01}), 3, pool, [0]),
    ]
    assert len(set(named)) == len(named)


@pytest.mark.parametrize(
    "settings",
    [
        {"adversary.count": 1},
        {"aggregation.rule.kind": "median"},
        {"training.rounds": 9},
        {"secure_aggregation.enabled": True},
        {"network.compression": "top-k"},
        {"training.algorithm": "fedadam"},
    ],
)
def test_what_no_shadow_does_is_not_in_its_key(settings: dict[str, object]) -> None:
    pool = pool_of(EXPERIMENT)
    assert keys(EXPERIMENT.changed(settings), 3, pool, [0]) == keys(EXPERIMENT, 3, pool, [0])


def test_a_change_after_the_round_does_not_matter() -> None:
    pool, later = pool_of(EXPERIMENT), EXPERIMENT.changed_from(3, {"training.rate": 0.01})
    assert keys(later, 2, pool, [0]) == keys(EXPERIMENT, 2, pool, [0])


def test_a_model_of_another_size_is_no_answer() -> None:
    pool, cache = pool_of(EXPERIMENT), Memory()
    cache.keep(keys(EXPERIMENT, 1, pool, [0])[0], torch.zeros(3))
    assert fleet_of(list(train_shadow_models(EXPERIMENT, 1, pool, [0], cache))).models.shape == (
        1,
        650,
    )


def test_no_more_train_at_once_than_memory_bears() -> None:
    large = EXPERIMENT.changed({"model.kind": "mlp", "model.hidden": 256, "data.clients": 40})
    cohort = 40 * large.architecture.size
    groups = shadow_models._groups(large, list(range(9)))
    assert max(map(len, groups)) * cohort <= shadow_models.FLOATS
    assert sorted(one for group in groups for one in group) == list(range(9))
    assert [len(each) for each in shadow_models._groups(EXPERIMENT, list(range(17)))] == [5, 6, 6]
    assert shadow_models._groups(EXPERIMENT, []) == []
