"""What one round takes is estimated before it starts, and too much of it is refused in words.

C3 of the review of soundness: 523 GB of updates and hours of masks a round were accepted.
"""

from __future__ import annotations

import json
from collections import deque
from typing import Any

import pytest

from benchmarks.estimates import CASES, RESULTS
from defenses import AGGREGATION_RULES
from lab.common.settings import SettingError
from lab.engine.cost_estimate import PAIRWISE, duration, estimated, size, stretches
from lab.experiment import presets
from lab.experiment.experiment import Experiment
from lab.interfaces.aggregation import PreAggregator
from lab.jobs.run_job import carry_out_run
from lab.storage import run_limits
from lab.storage.administration import set_limits
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.visitors import CLASS, COOKIE, Limits, visitor_of
from lab.storage.worker_store import WorkerStore
from lab.sweeps.sweep import Sweep
from lab.sweeps.tradeoff_study import Study
from tests.support.app_pages import button, opened
from tests.support.sweeps import GRID

ANN, BEN = visitor_of("cookie of Ann"), visitor_of("cookie of Ben")
MASKS = {"secure_aggregation.enabled": True}
GB = 10**9
MEASURED = json.loads(RESULTS.read_text(encoding="utf-8"))
SHORT = Experiment().changed({"training.rounds": 20, "training.steps": 1, "data.clients": 2})


@pytest.fixture
def _class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLASS, "1")


def refusal(store: Store, settings: dict[str, Any], visitor: str = ANN) -> str:
    with pytest.raises(SettingError) as refused:
        RunCommands(store).create(Experiment().changed(settings), visitor=visitor)
    assert store.runs() == []
    return str(refused.value)


# --- the estimate ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CASES)
def test_estimates_are_of_the_order_that_was_measured(name: str) -> None:
    """By `python -m benchmarks.estimates`.  Below 100 MB and 0.1 s nobody is ever refused."""
    found, told = MEASURED[name], estimated(Experiment().changed(CASES[name]))
    assert 1 / 4 < (told.seconds + 0.1) / (found["seconds"] + 0.1) < 4
    assert 1 / 4 < (told.bytes / 1e6 + 100) / (found["megabytes"] + 100) < 4


def test_updates_are_the_least_that_a_round_holds() -> None:
    """By hand: clients times parameters times four bytes, and as much for what each remembers."""
    small = Experiment().changed({"data.clients": 100, "training.clients_per_round": 10})
    params = small.architecture.size
    assert estimated(small).updates == 10 * params * 4
    carrying = small.changed({"training.algorithm": "scaffold"})
    assert estimated(carrying).updates == (10 + 100) * params * 4
    spare = small.changed({"network.devices": "phones", "network.spare": 0.5})
    assert estimated(spare).updates == 15 * params * 4


def test_masks_cost_the_square_of_the_clients_unless_they_have_neighbours() -> None:
    def seconds(clients: int, neighbours: int) -> float:
        asked = {"data.clients": clients, "training.steps": 1}
        masked = asked | MASKS | {"secure_aggregation.neighbours": neighbours}
        return estimated(Experiment().changed(masked)).seconds

    assert 3.5 < seconds(2000, 0) / seconds(1000, 0) < 4
    assert seconds(2000, 10) / seconds(1000, 10) == pytest.approx(2, rel=0.1)


def test_every_rule_that_compares_pairs_is_there() -> None:
    assert set(PAIRWISE) <= set(AGGREGATION_RULES) | set(PreAggregator.table)


def test_every_change_to_come_is_looked_at_and_none_that_is_over() -> None:
    changed = Experiment().changed_from(3, {"training.steps": 7})
    changed = changed.changed_from(5, {"training.steps": 9})
    assert [now.training.steps for now in stretches(changed)] == [0, 7, 9]
    assert [now.training.steps for now in stretches(changed, 2)] == [7, 9]
    assert [now.training.steps for now in stretches(changed, 9)] == [9]


def test_sizes_and_durations_in_words() -> None:
    told = [size(number) for number in (5, 2.5e6, 523e9, 2e12)]
    assert told == ["less than 1 MB", "2.5 MB", "523 GB", "2 TB"]
    told = [duration(number) for number in (0.2, 30, 400, 20000, 400000)]
    assert told == ["a second or less", "30 seconds", "6.7 minutes", "5.6 hours", "4.6 days"]


# --- one round ------------------------------------------------------------------------------------


@pytest.mark.parametrize("visitor", ["", ANN])
def test_a_round_that_cannot_fit_into_the_machine_is_refused_for_everybody(
    store: Store, monkeypatch: pytest.MonkeyPatch, visitor: str
) -> None:
    monkeypatch.setattr(run_limits, "memory_bytes", lambda: 25 * GB)
    large = {"model.kind": "cnn", "model.channels": 64, "model.hidden": 2048}
    large |= {"data.clients": 10_000}
    told = refusal(store, large, visitor)
    assert "training.clients_per_round is 0 (all 10000)" in told
    assert "13,074,186 parameters: one round takes at least 523 GB of memory" in told
    assert told.endswith("give training.clients_per_round 100 or fewer")
    fits = Experiment().changed(large | {"training.clients_per_round": 100})
    RunCommands(store).create(fits, visitor=visitor)


def test_what_a_large_machine_can_do_is_refused_only_in_a_class(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_limits, "memory_bytes", lambda: 0)  # as where the system does not say
    long = Experiment().changed({"model.kind": "cnn", "training.epochs": 100})
    RunCommands(store).create(long, visitor=ANN)
    monkeypatch.setenv(CLASS, "1")
    RunCommands(store).create(long)  # the command line
    with pytest.raises(SettingError, match=r"5\.9 minutes"):
        RunCommands(store).create(long, visitor=ANN)


@pytest.mark.usefixtures("_class")
@pytest.mark.parametrize(
    ("settings", "told", "path", "works"),
    [
        (
            {"model.kind": "cnn", "training.epochs": 100},
            "training.steps is 0 (no cap: 1600)",
            "training.steps",
            100,
        ),
        (
            MASKS | {"data.clients": 1500, "training.steps": 1},
            "secure_aggregation.neighbours is 0 (all)",
            "secure_aggregation.neighbours",
            100,
        ),
        (
            {"data.clients": 1100, "aggregation.rule.kind": "krum", "training.steps": 1},
            "training.clients_per_round is 0 (all 1100)",
            "training.clients_per_round",
            500,
        ),
        (
            {"data.clients": 5000, "model.hidden": 500},
            "of memory, and here one may take 2 GB",
            "training.clients_per_round",
            200,
        ),
    ],
)
def test_a_round_over_the_limits_of_a_class_is_refused_with_what_would_work(
    store: Store, settings: dict[str, Any], told: str, path: str, works: int
) -> None:
    words = refusal(store, settings)
    assert told in words
    assert words.endswith(f"give {path} {works} or fewer")
    assert len(words) < 400
    RunCommands(store).create(Experiment().changed(settings | {path: works}), visitor=ANN)


@pytest.mark.usefixtures("_class")
def test_changes_and_sweeps_have_the_limits_of_runs(store: Store) -> None:
    set_limits(store, Limits(seconds=1))
    long = {"training.epochs": 100}
    told = r"training\.steps is 0 .*here one may take a second or less: give training\.steps"
    with pytest.raises(SettingError, match=told):
        RunCommands(store).create(Experiment().changed_from(3, long), visitor=ANN)
    run = RunCommands(store).create(Experiment(), visitor=ANN)
    with pytest.raises(SettingError, match=told):
        RunCommands(store).change(run, long, visitor=ANN)
    heavy = GRID.replace("digits", "fashion-mnist").replace("rounds = 2", "epochs = 100")
    with pytest.raises(SettingError, match=told):
        SweepRuns(store, Sweep.from_toml(heavy)).start(visitor=ANN)
    RunCommands(store).change(run, long)  # the command line
    RunCommands(store).pause(run)
    with pytest.raises(SettingError, match=told):
        RunCommands(store).resume(run, visitor=ANN)


@pytest.mark.usefixtures("_class")
def test_what_is_refused_is_told_on_the_page(store: Store, cookies: dict[str, str]) -> None:
    cookies[COOKIE] = "cookie of Ann"
    app = button(opened(**{"model.kind": "cnn", "training.epochs": "100"}), "Start")
    assert "one round takes about 5.9 minutes" in app.error[0].value
    assert store.runs() == []


# --- what is kept ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("_class")
def test_one_visitor_keeps_so_many_bytes_of_models(store: Store) -> None:
    """By hand: a model of 50,890 parameters takes 203,560 bytes, so that 49 of them are 10 MB."""
    set_limits(store, Limits(storage=10))
    told = r"rounds is 50 more, of which every one keeps a model of less than 1 MB"
    remedy = r"give training\.rounds 49 or fewer, or delete runs"
    with pytest.raises(SettingError, match=f"{told}.*{remedy}"):
        RunCommands(store).create(SHORT.changed({"training.rounds": 50}), visitor=ANN)
    first = RunCommands(store).create(SHORT, visitor=ANN)
    RunCommands(store).create(SHORT, visitor=ANN)
    with pytest.raises(SettingError, match=r"beside 8\.14 MB of your other runs.*rounds 9 or"):
        RunCommands(store).create(SHORT, visitor=ANN)
    RunCommands(store).create(SHORT)  # the command line
    RunCommands(store).stop(first)
    RunCommands(store).create(SHORT, visitor=ANN)


@pytest.mark.usefixtures("_class")
def test_models_that_are_stored_count_as_they_are(store: Store) -> None:
    four = SHORT.changed({"training.rounds": 4})
    run, ledger = RunCommands(store).create(four, visitor=ANN), WorkerStore(store)
    job = ledger.claim(run)
    assert job is not None
    deque(carry_out_run(ledger, job), maxlen=0)
    set_limits(store, Limits(storage=1))
    with pytest.raises(SettingError, match=r"beside less than 1 MB of your other runs"):
        RunCommands(store).create(four, visitor=ANN)
    RunCommands(store).create(four, visitor=BEN)


def test_everything_that_the_lab_offers_is_within_half_of_the_limits_of_a_class() -> None:
    usual = Limits()
    files = [*presets.sweeps().values(), *presets.leaks().values()]
    offered = [Sweep.from_file(file) for file in files]
    offered += [Study.from_file(file).sweep for file in presets.tradeoffs().values()]
    runs = [Experiment.from_file(file) for file in presets.experiments().values()]
    runs += [each for one in offered for each in one.experiments.values()]
    found = [estimated(now) for each in runs for now in stretches(each)]
    assert max(each.bytes for each in found) < usual.memory * 1e6 / 2
    assert max(each.seconds for each in found) < usual.seconds / 2
    most = max(estimated(each).stored * each.training.rounds for each in runs)
    assert most < usual.storage * 1e6 / 2
