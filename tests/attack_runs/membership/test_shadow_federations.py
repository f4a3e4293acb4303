"""Shadow federations: against the engine, alone and beside others, and what they train on."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from lab.attack_runs.membership.candidates import select_candidates
from lab.attack_runs.membership.shadow_federations import (
    ShadowRound,
    _seed,
    initial,
    recipes,
    shadow_dataset,
    shadow_rounds,
)
from lab.engine.client import batched_sgd
from lab.engine.data import federation
from lab.engine.run import run
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates
from lab.interfaces.privacy_attacks import AttackResources
from lab.models.inputs import as_floats

SMALL = {
    "data.source": "digits",
    "data.clients": 5,
    "data.examples": 300,
    "training.rounds": 3,
    "training.batch_size": 16,
    "training.rate": 0.2,
}
NONE = {"training.epochs": 2, "training.clients_per_round": 3}
EXAMPLE = {"privacy.kind": "example", "privacy.noise": 0.7}
CLIENT = {"privacy.kind": "client", "privacy.noise": 0.5, "training.clients_per_round": 3}


def of(*settings: dict[str, object], **more: object) -> Experiment:
    merged = dict(SMALL)
    for each in settings:
        merged |= each
    return Experiment().changed(merged | {k.replace("__", "."): v for k, v in more.items()})


def pool_of(experiment: Experiment) -> Candidates:
    return select_candidates(experiment, AttackResources(shadows=2)).pool


@pytest.mark.parametrize(
    "settings",
    [
        {},
        NONE,
        NONE | {"network.dropout": 0.4},
        {"training.algorithm": {"kind": "fedavg", "rate": 0.5}, "data.partition.kind": "dirichlet"},
        {"model.kind": "cnn", "training.rounds": 1},
        EXAMPLE,
        EXAMPLE | {"privacy.per_layer": True, "privacy.sampling": "fixed"},
        CLIENT,
        CLIENT | {"privacy.place": "local", "privacy.per_layer": True},
        CLIENT | {"privacy.place": "central", "training.clients_per_round": 0},
        CLIENT | {"privacy.quantile": 0.5, "privacy.noise": 0.2},
    ],
)
def test_a_shadow_is_the_run_that_the_engine_makes_of_its_data(
    settings: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An independent oracle: the same experiment with the shadow's seed, and its data put in."""
    experiment = of(settings)
    pool, rounds = pool_of(experiment), experiment.training.rounds
    run_of, mine = federation.federated_dataset(experiment), shadow_dataset(experiment, pool, 3)
    data = replace(mine, test_inputs=run_of.test_inputs, test_labels=run_of.test_labels)
    monkeypatch.setattr(federation, "whole", lambda *_: data)
    monkeypatch.setattr(federation, "_poisoned", lambda *_: data)
    twin = experiment.model_copy(update={"seed": _seed(experiment, 3)})
    for each, moment in zip(
        shadow_rounds(experiment, rounds, pool, [2, 3]), run(twin), strict=True
    ):
        seen = moment.transcript
        assert torch.allclose(each.sent[1], seen.sent, atol=1e-5)
        assert torch.allclose(each.rows[1], seen.delivery.rows, atol=1e-5)
        assert each.clients[1] == tuple(one for (one,) in seen.delivery.senders)
        assert torch.allclose(each.models[1], seen.released, atol=1e-5)
        assert not torch.allclose(each.models[0], seen.released, atol=1e-2)


def last_of(experiment: Experiment, pool: Candidates, which: list[int]) -> ShadowRound:
    *_, last = shadow_rounds(experiment, experiment.training.rounds, pool, which)
    return last


@pytest.mark.parametrize(
    "settings", [{"data.clients": 2}, {"data.clients": 13}, EXAMPLE, CLIENT, {"model.kind": "cnn"}]
)
def test_a_shadow_does_not_depend_on_who_trains_beside_it(settings: dict[str, object]) -> None:
    experiment = of(settings, training__rounds=2)
    pool = pool_of(experiment)
    alone, beside = last_of(experiment, pool, [4]), last_of(experiment, pool, [7, 1, 4, 5])
    assert torch.allclose(alone.models[0], beside.models[2], atol=1e-6)
    assert torch.allclose(alone.rows[0], beside.rows[2], atol=1e-6)
    assert (alone.holders[0] == beside.holders[2]).all()


def test_small_federations_share_blocks_and_large_ones_do_not() -> None:
    now, step = of(), [torch.zeros(4).numpy()]
    two, three, many = [step] * 2, [step * 2] * 3, [step] * 13
    blocks = batched_sgd.shared_blocks([two, three, many, two], now)
    assert [len(block) for block in blocks] == [5, 7, 6 + 2]
    assert [seat[0] for seat in blocks[0]] == [1, 1, 1, 0, 0], "the longest plans first"
    assert sorted(seat for block in blocks for seat in block) == [
        (lot, place)
        for lot, plans in enumerate([two, three, many, two])
        for place in range(len(plans))
    ]


def test_a_pair_shares_out_the_pool_and_every_client_gets_its_part() -> None:
    experiment = of(data__partition__kind="dirichlet", training__rounds=1)
    pool = pool_of(experiment)
    found = last_of(experiment, pool, [0, 1, 2, 3])
    assert (found.inside[0] ^ found.inside[1]).all()
    assert (found.inside[2] ^ found.inside[3]).all()
    assert found.inside.sum(dim=1).tolist() == [300, 300, 300, 300]
    assert not (found.inside[0] == found.inside[2]).all()
    for number in range(4):
        federation = shadow_dataset(experiment, pool, number)
        for client in federation.everyone:
            held = (found.holders[number] == client).nonzero().flatten()
            assert sorted(federation.held(client).tolist()) == held.tolist()


def test_bytes_train_the_same_shadows_as_floats_do() -> None:
    experiment = of(training__rounds=1)
    pool = pool_of(experiment)
    assert pool.inputs.dtype == torch.uint8
    floats = Candidates(as_floats(pool.inputs), pool.labels)
    one, other = (last_of(experiment, each, [0, 1]).models for each in (pool, floats))
    assert torch.equal(one, other)


def test_the_pool_is_never_copied() -> None:
    experiment = of()
    pool = pool_of(experiment)
    federations = [shadow_dataset(experiment, pool, number) for number in range(3)]
    assert {each.inputs.data_ptr() for each in federations} == {pool.inputs.data_ptr()}


def test_shadows_begin_with_models_of_their_own_or_with_one_that_is_known() -> None:
    experiment = of(training__rounds=1)
    pool, known = pool_of(experiment), torch.full((experiment.architecture.size,), 0.01)
    (own,) = shadow_rounds(experiment, 1, pool, [0, 1])
    assert torch.equal(own.sent, initial(experiment, [0, 1]))
    assert not torch.equal(own.sent[0], own.sent[1])
    (told,) = shadow_rounds(experiment, 1, pool, [0, 1], start=known)
    assert torch.equal(told.sent, known.expand(2, -1))


def test_a_shadow_has_the_runs_privacy_and_nothing_else_that_the_run_does() -> None:
    experiment = of(
        {"privacy.kind": "example", "privacy.noise": 0.9, "privacy.secure_noise": True},
        {"adversary.count": 1, "aggregation.rule.kind": "median", "network.dropout": 0.1},
        {"training.algorithm": "fedadam", "network.compression": "top-k"},
    )
    plain = recipes(experiment, 2)[1]
    assert (plain.privacy.kind, plain.privacy.noise, plain.privacy.repeatable) == (
        "example",
        0.9,
        True,
    )
    assert (plain.adversary.count, plain.aggregation.rule.kind) == (0, "mean")
    assert (plain.training.algorithm.kind, plain.network.compression.kind) == ("fedavg", "none")
    assert plain.network.dropout == 0.1


def test_a_change_in_mid_run_changes_its_shadows_from_then_on() -> None:
    experiment = of().changed_from(2, {"training.rate": 0.01})
    assert [each.training.rate for each in recipes(experiment, 3)] == [0.2, 0.01, 0.01]
    pool = pool_of(experiment)
    same, changed = (list(shadow_rounds(each, 2, pool, [0])) for each in (of(), experiment))
    assert torch.equal(same[0].models, changed[0].models)
    assert not torch.equal(same[1].models, changed[1].models)
