"""Asynchronous algorithms: a server that waits for nobody, on a simulated clock."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from attacks import PRIVACY_ATTACKS
from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.common.settings import SettingError
from lab.engine.client.local_training import train_cohort
from lab.engine.participation.async_schedule import PendingUpdate, async_round
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.run import initial_state
from lab.engine.run_state import RoundResult
from lab.interfaces.federated_algorithm import LocalTask

BASE = Experiment.read(
    {
        "data": {"source": "digits", "clients": 6},
        "training": {
            "rounds": 12, "batch_size": 16, "rate": 0.2, "clients_per_round": 3,
            "algorithm": {"kind": "fedbuff", "buffer": 2},
        },
        "network": {"devices": "mixed"},
    }
)  # fmt: skip


def changed(**settings: Any) -> Experiment:
    return BASE.changed({path.replace("__", "."): value for path, value in settings.items()})


def last(now: Experiment) -> RoundResult:
    *_, moment = run(now)
    return moment


# --- the clock ----------------------------------------------------------------------------------


def test_flights_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Client k takes k + 1 seconds; three at work, and the server steps when two are back."""
    monkeypatch.setattr(
        "lab.engine.participation.async_schedule.durations",
        lambda now, clients, *_: torch.tensor([client + 1.0 for client in clients]),
    )
    monkeypatch.setattr("lab.engine.participation.async_schedule._known", lambda _: [])
    first, second = (async_round(BASE, round) for round in (1, 2))
    a, b, c = sorted(first.flights + first.waiting)
    assert [flight.due for flight in (a, b, c)] == [flight.client + 1.0 for flight in (a, b, c)]
    assert set(first.flights) == {a, b}
    assert (first.clock, first.lasted) == (b.due, b.due)
    # The slowest is still at work on model 0; two others have begun on model 1 when b came back.
    assert c in second.flights + second.waiting
    fresh = {flight for flight in second.flights + second.waiting if flight != c}
    assert fresh == {PendingUpdate(b.due + one.client + 1.0, one.client, 1) for one in fresh}
    assert c.client not in {flight.client for flight in fresh}
    assert second.clock == sorted(flight.due for flight in {c, *fresh})[1]


def test_nobody_is_in_two_places_and_everybody_comes_back() -> None:
    away: set[int] = set()
    for round in range(1, 60):
        found = async_round(changed(training__rounds=60), round)
        back = [flight.client for flight in found.flights]
        waiting = {flight.client for flight in found.waiting}
        assert len(back) == 2
        assert back == sorted(set(back))
        assert not waiting & set(back)
        assert away <= waiting | set(back)
        assert select_cohort(changed(training__rounds=60), round) == tuple(back)
        away = waiting
    assert max(round - 1 - flight.version for flight in found.flights + found.waiting) < 30


def test_the_clock_is_the_sum_of_the_rounds() -> None:
    moments = list(run(BASE))
    seconds = [moment.record.duration for moment in moments]
    assert None not in seconds
    assert sum(filter(None, seconds)) == pytest.approx(async_round(BASE, 12).clock)
    waiting = changed(training__algorithm__kind="fedavg")
    slow = sum(moment.record.duration or 0.0 for moment in run(waiting))
    assert sum(filter(None, seconds)) < slow, "waiting for the slowest takes longer"


def test_without_devices_there_is_no_clock() -> None:
    assert last(changed(network__devices="none")).record.duration is None


# --- what it reduces to -------------------------------------------------------------------------


def test_without_delay_and_with_everybody_fedbuff_is_fedavg() -> None:
    everybody: dict[str, Any]
    everybody = {"network__devices": "none", "training__clients_per_round": 0}
    everybody |= {"data__examples": 1200}  # of which each holds as many
    buffered = changed(**everybody, training__algorithm__buffer=6)
    plain = changed(**everybody, training__algorithm__kind="fedavg")
    assert torch.allclose(last(buffered).state.model, last(plain).state.model, atol=1e-5)


def replayed(now: Experiment) -> list[torch.Tensor]:
    """Every model of a run, an update at a time, from what the flights say."""
    algorithm, models = now.training.algorithm, [initial_state(now).model]
    for round in range(1, now.training.rounds + 1):
        step, model = torch.zeros_like(models[0]), models[-1]
        flights = async_round(now, round).flights
        for flight in flights:
            start = models[flight.version]
            drift = algorithm.drift({}, (flight.client,))
            (row,) = train_cohort(now, round, [flight.client], LocalTask(start, drift)).rows
            weight = (1 + round - 1 - flight.version) ** -0.5
            if algorithm.kind == "fedasync":
                step += 0.6 * weight * (start + row - model)
            else:
                step += weight * row / len(flights)
        models.append(model + step)
    return models


@pytest.mark.parametrize("kind", ["fedbuff", "fedasync"])
def test_an_update_by_update_replay_gives_the_same_models(kind: str) -> None:
    settings = {"buffer": 2} if kind == "fedbuff" else {}
    now = changed(training__algorithm={"kind": kind, **settings})
    models = replayed(now)
    stale = [
        round - 1 - flight.version
        for round in range(1, 13)
        for flight in async_round(now, round).flights
    ]
    assert max(stale) > 0, "otherwise nothing is tested"
    for place, moment in enumerate(run(now), start=1):
        assert torch.allclose(moment.state.model, models[place], atol=1e-5)


def test_only_models_that_somebody_works_on_are_remembered() -> None:
    for moment in run(BASE):
        waiting = {flight.version for flight in async_round(BASE, moment.record.round).waiting}
        assert set(moment.state.carried.algorithm["versions"].tolist()) == waiting
        assert len(moment.state.carried.algorithm["models"]) == len(waiting)


# --- what comes with it -------------------------------------------------------------------------


def test_an_attack_knows_the_model_that_the_client_began_with() -> None:
    """Exact, from an update of a model that the server has left behind."""
    now = changed(
        training__steps=1, training__batch_size=1, model__kind="lenet",
        training__algorithm__kind="fedasync",
    )  # fmt: skip
    moments = list(run(now))
    moment, client = next(
        (moment, flight.client)
        for moment in moments
        for flight in async_round(now, moment.record.round).flights
        if flight.version < moment.record.round - 1
    )
    *_, glimpse = run_reconstruction(PRIVACY_ATTACKS["idlg"].read({}), moment, client)
    assert glimpse.result is not None
    assert glimpse.result.score is not None
    assert glimpse.result.score.psnr > 40


def test_from_waiting_to_not_waiting_and_back_in_mid_run() -> None:
    now = changed(training__algorithm__kind="fedavg", training__rounds=9)
    now = now.changed_from(4, {"training.algorithm.kind": "fedbuff"})
    now = now.changed_from(7, {"training.algorithm.kind": "fedavg"})
    moments = list(run(now))
    assert [len(moment.record.clients) for moment in moments] == [3] * 9
    state = moments[4].state
    assert [moment.record for moment in run(now, state)] == [
        moment.record for moment in moments[5:]
    ]


def test_examples_are_protected_and_counted_at_worst() -> None:
    """Nobody comes back twice in a round, so no client takes part more often than there are."""
    private = {"privacy.kind": "example", "privacy.noise": 2.0}
    asynchronous = last(BASE.changed(private)).record
    everybody = changed(training__algorithm__kind="fedavg", training__clients_per_round=0)
    waited = last(everybody.changed({**private, "network.devices": "none"})).record
    assert asynchronous.epsilon == waited.epsilon


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"network.deadline": 5.0}, "network.deadline is 5 and .*fedbuff waits for nobody"),
        ({"network.spare": 0.5}, "network.spare is 0.5 and .*fedbuff waits for nobody"),
        ({"network.compression": "half"}, "the clock must know how large an update is"),
        ({"secure_aggregation.enabled": True}, "fedbuff shows the server each update by itself"),
        ({"privacy.kind": "client"}, "fedbuff shows the server each update by itself"),
        ({"aggregation.rule": "krum"}, "aggregation.rule.faulty is 1, too many for 2 clients"),
    ],
)
def test_what_needs_waiting_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(SettingError, match=told):
        BASE.changed(settings)
