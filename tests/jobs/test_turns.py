"""Turns: an attack gives way in mid-course, and comes to what it would have come to anyway."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from threading import Event
from types import SimpleNamespace
from typing import Any

import pytest

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common import thread_time
from lab.common.thread_time import not_counted, thread_seconds
from lab.experiment.experiment import Experiment
from lab.jobs import attack_job, run_job, suspended_attacks
from lab.jobs import worker as worker_module
from lab.jobs.polling import poll
from lab.jobs.suspended_attacks import SuspendedAttacks
from lab.storage.administration import queue
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.visitors import visitor_of
from lab.storage.worker_store import WorkerStore

TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 2, "examples": 40},
        "model": {"kind": "lenet"},
        "training": {"rounds": 2, "steps": 1, "batch_size": 2},
    }
)
SHORT = {"kind": "inverting-gradients", "iterations": 24, "seconds": 3600}
LONG = {"kind": "idlg", "iterations": 20_000, "restarts": 20}
ANN, BEN, CEM = (visitor_of(f"cookie of {name}") for name in ("Ann", "Ben", "Cem"))


@pytest.fixture(autouse=True)
def _turns(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step each."""
    monkeypatch.setattr(worker_module, "TURN", 0.0)
    monkeypatch.setattr(attack_job, "APART", 0.0)
    for visitor in (ANN, BEN, CEM):
        RunCommands(store).seen(visitor)


@pytest.fixture
def run(store: Store) -> str:
    """A finished one, to be attacked."""
    ledger = WorkerStore(store)
    job = ledger.start(TINY)
    list(run_job.carry_out_run(ledger, job))
    return job.id


@pytest.fixture
def worker(store: Store) -> Iterator[SuspendedAttacks]:
    with closing(SuspendedAttacks(WorkerStore(store))) as found:
        yield found


def ordered(store: Store, run: str, spy: dict[str, Any], visitor: str) -> str:
    return RunCommands(store).attack(run, AttackRequest.read({**spy, "round": 1}), visitor=visitor)


def turn(worker: SuspendedAttacks) -> str:
    """Whose turn it was."""
    job = worker.claim()
    assert job is not None
    worker_module._carry_out(worker, job)
    return job.id


def work_off(worker: SuspendedAttacks) -> list[str]:
    found = []
    while (job := worker.claim()) is not None:
        worker_module._carry_out(worker, job)
        found.append(job.id)
    return found


def come_to(store: Store, attack: str) -> dict[str, Any]:
    """The result but for how long it took, and the last pictures."""
    job = store.job(attack)
    assert job.status == "finished", job.message
    assert job.result is not None
    digest = store.sights(attack)[-1].arrays
    return {name: value for name, value in job.result.items() if name != "seconds"} | {
        "pictures": digest
    }


@pytest.fixture
def waiting(store: Store, run: str, worker: SuspendedAttacks) -> str:
    """An attack of Ann's that was set aside with something found, and that nothing else waits."""
    attack = ordered(store, run, LONG, ANN)
    endless = RunCommands(store).create(TINY.changed({"training.rounds": 1000}), visitor=BEN)
    while not store.sights(attack) or store.job(attack).status != "queued":
        turn(worker)
    RunCommands(store).stop(endless)
    return attack


# --- what comes of it -----------------------------------------------------------------------------


def test_attacks_that_took_turns_come_to_the_same_as_undisturbed_ones(
    store: Store, run: str, worker: SuspendedAttacks
) -> None:
    """Two at once with runs between, of which each draws by streams of its own."""
    alone = ordered(store, run, SHORT, "")
    assert work_off(worker) == [alone]
    mine, theirs = (ordered(store, run, SHORT, who) for who in (ANN, BEN))
    runs = [
        RunCommands(store).create(TINY.changed({"seed": seed}), visitor=CEM) for seed in range(3)
    ]
    order = work_off(worker)
    assert min(order.count(mine), order.count(theirs)) > 3
    assert set(order) == {mine, theirs, *runs}
    assert come_to(store, mine) == come_to(store, theirs) == come_to(store, alone)
    again = RunCommands(store).create(TINY.changed({"seed": 0}))
    work_off(worker)
    assert [each.record for each in store.rounds(again)] == [
        each.record for each in store.rounds(runs[0])
    ]


def test_what_was_set_aside_waits_in_the_queue_with_all_it_has_shown(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    shown = store.sights(waiting)
    others = RunCommands(store).create(TINY, visitor=CEM)
    assert {each.id: each.status for each in queue(store)} == {waiting: "queued", others: "queued"}
    assert {store.place(waiting), store.place(others)} == {0, 1}
    while turn(worker) != waiting or len(store.sights(waiting)) == len(shown):
        others = RunCommands(store).create(TINY, visitor=CEM)
    assert store.sights(waiting)[: len(shown)] == shown


def test_an_attack_that_nobody_waits_for_is_not_interrupted(
    store: Store, run: str, worker: SuspendedAttacks
) -> None:
    attack = ordered(store, run, SHORT, ANN)
    RunCommands(store).create(TINY, visitor=ANN)  # her own job is in no hurry
    assert turn(worker) == attack
    assert store.job(attack).status == "finished"


# --- told meanwhile -------------------------------------------------------------------------------


def test_a_stop_is_heard_by_what_was_set_aside(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    RunCommands(store).stop(waiting)
    assert store.job(waiting).status == "queued"  # until its best guess has a score
    worker.listen()
    ended = store.job(waiting)
    assert (ended.status, ended.message) == ("stopped", "stopped by hand")
    assert ended.result is not None
    assert ended.result["declared"]["stopped"].startswith("by hand at step")
    assert waiting not in work_off(worker)


def test_a_stop_is_heard_in_the_midst_of_somebody_elses_run(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    own = RunCommands(store).create(TINY)
    job = worker.ledger.claim(own)
    assert job is not None
    RunCommands(store).stop(waiting)
    worker_module._carry_out(worker, job)
    assert store.job(waiting).status == "stopped"
    assert store.job(own).status == "finished"


def test_a_worker_that_leaves_ends_what_it_has_set_aside(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    worker.close()
    ended = store.job(waiting)
    assert (ended.status, ended.message) == ("stopped", "interrupted")
    assert ended.result is not None


def test_only_its_worker_goes_on_with_it_unless_that_is_dead(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    other = SuspendedAttacks(WorkerStore(store))
    assert waiting not in work_off(other)
    assert store.job(waiting).status == "queued"
    assert not other.gives_way(store.job(RunCommands(store).create(TINY, visitor=BEN)))
    other.ledger.abandon(worker.ledger.worker)
    job = other.ledger.claim(waiting)
    assert job is not None
    worker.listen()  # it was not dead after all, and lets go
    assert store.job(waiting).status == "running"
    with closing(attack_job.carry_out_attack(other.ledger, job)) as steps:
        next(steps)
        assert [each.number for each in store.sights(waiting)] == [1]  # from the beginning


def test_what_a_dead_worker_was_told_to_stop_is_stopped_at_once(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    WorkerStore(store).abandon(worker.ledger.worker)
    RunCommands(store).stop(waiting)
    assert store.job(waiting).status == "stopped"
    worker.listen()
    assert store.job(waiting).message == ""


def test_a_stop_outlives_the_worker_that_was_to_hear_it(
    store: Store, worker: SuspendedAttacks, waiting: str
) -> None:
    RunCommands(store).stop(waiting)
    other = SuspendedAttacks(WorkerStore(store))
    other.ledger.abandon(worker.ledger.worker)
    assert work_off(other) == [waiting]
    assert store.job(waiting).message == "stopped by hand"


# --- memory and time ------------------------------------------------------------------------------


def test_a_worker_begins_so_many_attacks_and_runs_never_wait_for_that(
    store: Store, run: str, worker: SuspendedAttacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspended_attacks, "MOST", 1)
    mine, theirs = (ordered(store, run, SHORT, who) for who in (ANN, BEN))
    third = RunCommands(store).create(TINY, visitor=CEM)
    order = work_off(worker)
    assert order[0] == mine
    assert order.index(third) < order.index(mine, 1) < order.index(theirs)
    assert order[-1] == theirs
    assert order.count(theirs) == 1


def test_time_that_others_had_is_not_the_attacks(
    store: Store, run: str, worker: SuspendedAttacks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of what it may take here, nor of its own budget."""
    now = [0.0]
    monkeypatch.setattr(worker_module, "TURN", -1.0)
    monkeypatch.setattr(WorkerStore, "longest", lambda self, job: 10.0)
    clock = SimpleNamespace(**vars(time) | {"monotonic": lambda: now[0]})
    monkeypatch.setattr(worker_module, "time", clock)
    monkeypatch.setattr(attack_job, "time", clock)
    mine, theirs = (ordered(store, run, SHORT, who) for who in (ANN, BEN))
    while (job := worker.claim()) is not None:
        worker_module._carry_out(worker, job)
        now[0] += 100
    assert now[0] > 1000
    assert {store.job(id).message for id in (mine, theirs)} == {""}


def test_the_clock_of_a_thread_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(thread_time, "monotonic", lambda: now[0])
    began = thread_seconds()
    now[0] += 1
    with not_counted():
        now[0] += 10
        with not_counted():
            now[0] += 100
        now[0] += 1000
    now[0] += 2
    assert thread_seconds() - began == 3


def test_who_waits_for_a_reader_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread of an attack that was set aside, one step ahead."""
    looks, now, going = [0], [0.0], Event()

    def monotonic() -> float:
        looks[0] += 1
        return now[0]

    def steps() -> Iterator[float]:
        yield thread_seconds()
        going.wait(30)
        yield thread_seconds()
        yield thread_seconds()

    monkeypatch.setattr(thread_time, "monotonic", monotonic)
    with closing(poll(steps(), 0.01)) as read:
        first = next(each for each in read if each is not None)
        seen = looks[0]
        going.set()
        end = time.monotonic() + 30
        while looks[0] < seen + 2:  # the second step is there, and waits
            assert time.monotonic() < end
            time.sleep(0.01)
        now[0] += 100
        rest = [each for each in read if each is not None]
    assert [first, *rest] == [0.0, 0.0, 0.0]
