"""Client-level privacy: a coin for every client, and a run against a slow loop."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from defenses.secure_aggregation.terms import enough
from lab import Experiment, run
from lab.common.random_streams import normal, random_stream
from lab.engine.client.cohort_trainer import cohort_of
from lab.engine.client.local_training import train_cohort
from lab.engine.differential_privacy.update_transforms import privacy_transforms
from lab.engine.exchange import channel
from lab.engine.participation.cohort_sampling import dropped_clients, select_cohort
from lab.engine.round import Round, run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.interfaces.federated_algorithm import LocalTask
from tests.support.private_runs import CLIENTS, UNLIKELY, is_normal, looks_like_coin_flips

# --- sampling of clients --------------------------------------------------------------------------

TIMES = 3000


def drawn_clients(experiment: Experiment) -> np.ndarray:
    """Who is asked in each of many rounds.  -> (TIMES, clients) bool"""
    drawn = np.zeros((TIMES, experiment.data.clients), dtype=bool)
    for round in range(1, TIMES + 1):
        drawn[round - 1, list(select_cohort(experiment, round))] = True
    return drawn


def test_under_client_privacy_every_client_is_asked_by_a_coin_of_its_own() -> None:
    assert looks_like_coin_flips(drawn_clients(CLIENTS), 4 / 12)


@pytest.mark.parametrize("kind", ["none", "example"])
def test_otherwise_a_cohort_has_its_size_and_everybody_the_same_chance(kind: str) -> None:
    drawn = drawn_clients(CLIENTS.changed({"privacy.kind": kind}))
    assert set(drawn.sum(axis=1)) == {4}
    assert chisquare(drawn.sum(axis=0)).pvalue > UNLIKELY
    assert not looks_like_coin_flips(drawn, 4 / 12)


@pytest.mark.parametrize("kind", ["none", "example", "client"])
def test_where_all_are_asked_nobody_is_left_out(kind: str) -> None:
    everybody = CLIENTS.changed({"privacy.kind": kind, "training.clients_per_round": 0})
    assert {select_cohort(everybody, round) for round in range(1, 50)} == {tuple(range(12))}


@pytest.mark.parametrize("kind", ["none", "client"])
def test_clients_are_asked_in_order_and_the_same_on_repeat(kind: str) -> None:
    experiment = CLIENTS.changed({"privacy.kind": kind})
    cohorts = [select_cohort(experiment, round) for round in range(1, 50)]
    assert cohorts == [select_cohort(experiment, round) for round in range(1, 50)]
    assert all(list(found) == sorted(set(found)) for found in cohorts)


def test_every_client_is_lost_by_a_coin_of_its_own() -> None:
    experiment = CLIENTS.changed({"network.dropout": 0.3})
    drawn = np.zeros((TIMES, 12), dtype=bool)
    for round in range(TIMES):
        drawn[round, list(dropped_clients(experiment, round))] = True
    assert looks_like_coin_flips(drawn, 0.3)
    assert not (drawn & drawn_clients(CLIENTS)).all()


# --- client-level privacy as a whole --------------------------------------------------------------


def test_the_engine_clips_and_adds_noise_before_the_wire_and_releases_behind_it() -> None:
    clipping = Round.begin(initial_state(CLIENTS)).clipping
    before, behind = (privacy_transforms(CLIENTS, clipping, side) for side in ("client", "server"))
    drawn = {"place": "distributed", "secure": False}
    assert [stage.dump() for stage in before] == [
        {"kind": "clip", "bound": 0.4, "per_layer": False},
        {"kind": "noise", "deviation": pytest.approx(0.28)} | drawn,
    ]
    assert [stage.dump() for stage in behind] == [
        {"kind": "release", "name": "missing noise", "deviation": pytest.approx(0.28)}
        | {"surplus": 1.0}
        | drawn
    ]


@pytest.mark.parametrize("kind", ["none", "example"])
@pytest.mark.parametrize("side", ["client", "server"])
def test_without_client_privacy_there_are_no_stages(kind: str, side: str) -> None:
    round = Round.begin(initial_state(CLIENTS.changed({"privacy.kind": kind})))
    assert privacy_transforms(round.settings, round.clipping, side) == []


def slow_step(experiment: Experiment, moment: RoundResult) -> Tensor:
    """(Sum of the clipped updates that arrived + noise) / expected cohort, one by one."""
    record, privacy, seed = moment.record, experiment.privacy, experiment.seed
    clients, sent = record.clients, moment.transcript.sent
    deviation = privacy.noise * privacy.clip
    total = torch.zeros_like(sent)
    for client, row in zip(
        clients, train_cohort(experiment, record.round, clients, LocalTask(sent)).rows, strict=True
    ):
        if client not in record.lost:
            total += row * min(1.0, privacy.clip / float(row.norm()))
            own = normal(random_stream(seed, "noise", record.round, client), len(row))
            total += deviation / len(clients) ** 0.5 * own
    share = len(record.lost) / len(clients) if clients else 1.0
    missing = normal(random_stream(seed, "missing noise", record.round), len(sent))
    return (total + deviation * share**0.5 * missing) / experiment.cohort_size


@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_a_run_under_client_privacy_is_what_a_slow_loop_makes_of_it(dropout: float) -> None:
    experiment = CLIENTS.changed({"network.dropout": dropout})
    for moment in run(experiment):
        released = moment.transcript.released - moment.transcript.sent
        assert torch.allclose(released, slow_step(experiment, moment), atol=1e-6)


def test_under_masks_the_noise_is_whole_and_does_not_tell_how_many_took_part() -> None:
    """Clients add discrete noise in the ring, and the server what keeps its variance the same."""
    masked = CLIENTS.changed({"network.dropout": 0.2, "secure_aggregation.enabled": True})
    private, notes, arrived = masked.privacy, [], set()
    for moment in run(masked):
        record, sent = moment.record, moment.transcript.sent
        clients, notes = record.clients, [*notes, record.note]
        rows = train_cohort(masked, record.round, clients, LocalTask(sent)).rows
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)
        clipped = rows * (private.clip / lengths).clamp_max(1)
        here = [client in record.arrived for client in clients]
        released = (moment.transcript.released - sent) * masked.cohort_size
        whole = private.noise * private.clip / masked.secure_aggregation.threshold**0.5
        assert is_normal(released - clipped[here].sum(dim=0), whole)
        arrived.add(len(record.arrived))
    assert any("aborted" in note for note in notes)
    assert len(arrived) > 2


@pytest.mark.parametrize("lost", [0, 2])
def test_under_masks_the_server_learns_no_sum_with_less_than_all_of_the_noise(lost: int) -> None:
    masked = CLIENTS.changed({"secure_aggregation.enabled": True})
    sent, rows = torch.zeros(4000), torch.zeros(12, 4000)
    party = replace(cohort_of(masked, 1, tuple(range(12))), lost=torch.arange(12) < lost)
    delivery = channel(masked, Round.begin(initial_state(masked)).clipping)(rows, party, sent)
    total = delivery.rows[0] * delivery.weights[0]
    carried = (12 - lost) / enough(masked.secure_aggregation.threshold, 12, 3)
    assert delivery.carried == pytest.approx(carried, rel=1e-3)
    assert delivery.carried >= 1
    assert is_normal(total, carried**0.5 * 0.7 * 0.4)


def test_no_seed_repeats_secure_noise_under_masks() -> None:
    masked = CLIENTS.changed({"secure_aggregation.enabled": True, "privacy.secure_noise": True})
    one, other = (release_of(masked, 1) for _ in range(2))
    assert not torch.equal(one, other)
    assert is_normal((one - other) / 2**0.5, 0.28 / 0.67**0.5)


def release_of(experiment: Experiment, round: int) -> Tensor:
    """The step of that round, times the expected cohort: a sum."""
    start = initial_state(experiment)
    moment = run_round(type(start)(round - 1, start.model, experiment))
    released = moment.transcript.released - moment.transcript.sent
    return released * experiment.cohort_size


def test_an_empty_cohort_still_releases_the_noise() -> None:
    rare = CLIENTS.changed({"training.clients_per_round": 1, "training.rounds": 200})
    empty = [round for round in range(1, 200) if not select_cohort(rare, round)][:5]
    assert len(empty) == 5
    for round in empty:
        assert is_normal(release_of(rare, round), 0.7 * 0.4)


def test_an_aborted_round_still_releases_the_noise() -> None:
    masked = CLIENTS.changed({"secure_aggregation.enabled": True, "network.dropout": 0.9})
    moment = next(run(masked))
    assert "aborted" in moment.record.note
    assert moment.record.lost == moment.record.clients
    assert is_normal(release_of(masked, 1), 0.7 * 0.4 / 0.67**0.5)


def test_a_round_that_loses_everybody_still_releases_the_noise() -> None:
    silent = CLIENTS.changed({"network.dropout": 0.95})
    who = {
        round: (set(select_cohort(silent, round)), set(dropped_clients(silent, round)))
        for round in range(1, 30)
    }
    rounds = [round for round, (here, gone) in who.items() if here and here <= gone]
    assert is_normal(release_of(silent, rounds[0]), 0.7 * 0.4)


def test_epsilon_grows_in_every_round_and_most_runs_have_empty_ones() -> None:
    rare = CLIENTS.changed({"training.clients_per_round": 1})
    records = [moment.record for moment in run(rare)]
    spent = [record.epsilon for record in records if record.epsilon is not None]
    assert len(spent) == len(records)
    assert spent == sorted(set(spent))
    assert not all(record.clients for record in records)


def test_the_ring_never_clips_what_the_noise_needs() -> None:
    """Clipped noise is less noise, and the epsilon would be false; the bound gives way."""
    loud = CLIENTS.changed(
        {"privacy.clip": 100.0, "privacy.noise": 3.0, "secure_aggregation.enabled": True,
         "training.clients_per_round": 0}
    )  # fmt: skip
    moment = next(run(loud))
    released = (moment.transcript.released - moment.transcript.sent) * loud.cohort_size
    assert moment.record.note == ""
    assert float(released.std()) == pytest.approx(300 / 0.67**0.5, rel=0.05)
