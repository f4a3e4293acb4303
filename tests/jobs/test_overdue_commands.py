"""Stops and pauses within a round: heard in time, and nothing is half written.

C3 of the review of soundness: a worker heard them between two rounds, so that one long round held
a core, and nobody could stop it.
"""

from __future__ import annotations

import time

import pytest

from lab import Experiment
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.jobs import run_job
from lab.jobs.overdue_commands import Watch, release, settle
from lab.jobs.supervisor import Supervisor
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.visitors import visitor_of
from lab.storage.worker_store import WorkerStore
from tests.jobs.test_workers import supervised, wait_for

SMALL = Experiment.read(
    {
        "data": {"source": "digits", "clients": 2, "examples": 40},
        "training": {"rounds": 2, "steps": 1},
    }
)
# The first round takes milliseconds, and the second one minutes.
LONG = SMALL.changed({"data.examples": 0, "model.kind": "cnn"}).changed_from(
    2, {"training.steps": 0, "training.epochs": 100}
)
ANN, BEN = visitor_of("cookie of Ann"), visitor_of("cookie of Ben")


@pytest.fixture(autouse=True)
def _visits(store: Store) -> None:
    for visitor in (ANN, BEN):
        RunCommands(store).seen(visitor)


def claimed(ledger: WorkerStore, id: str) -> None:
    assert ledger.claim(id) is not None


# --- with real workers ----------------------------------------------------------------------------


def test_a_stop_within_a_long_round_is_carried_out_and_others_get_their_turn(store: Store) -> None:
    with supervised(store, patience=0.3) as supervisor:
        long = RunCommands(store).create(LONG, visitor=ANN)
        wait_for(lambda: store.job(long).round == 1)
        theirs = RunCommands(store).create(SMALL, visitor=BEN)
        time.sleep(0.3)  # the worker is inside the second round
        (worker,) = supervisor.workers()
        asked = time.monotonic()
        RunCommands(store).stop(long)
        wait_for(lambda: store.job(long).status == "stopped")
        assert time.monotonic() - asked < 10
        assert worker.poll() is not None
        wait_for(lambda: store.job(theirs).status == "finished")
    assert store.job(long).message == "ended within round 2, of which nothing is kept"
    assert store.job(long).round == len(store.rounds(long)) == 1
    assert len(StoredRun(store, long).state().model)
    assert not [path for path in store.arrays.folder.rglob("*") if "unfinished" in path.name]


# --- in the store ---------------------------------------------------------------------------------


def test_a_worker_that_answers_is_left_alone(store: Store) -> None:
    ledger, watch = WorkerStore(store), Watch(store)
    run = RunCommands(store).create(SMALL)
    claimed(ledger, run)
    assert watch.unanswered() == []
    RunCommands(store).change(run, {"aggregation.rule.kind": "median"})
    assert watch.unanswered() == []  # no hurry: it holds from the next round on
    RunCommands(store).stop(run)
    (told,) = watch.unanswered()
    assert (told.job, told.worker, told.running) == (run, ledger.worker, True)
    time.sleep(0.01)
    assert watch.unanswered()[0].waited > told.waited
    list(run_job.carry_out_run(ledger, store.job(run)))
    assert watch.unanswered() == []
    assert store.job(run).message == ""


def test_other_jobs_of_a_killed_worker_go_back_into_the_queue(store: Store) -> None:
    """Without a death: three of those end a job for good."""
    ledger = WorkerStore(store)
    cell, attacked, told, mine = (RunCommands(store).create(SMALL, visitor=ANN) for _ in range(4))
    for id in (cell, attacked, told, mine):
        claimed(ledger, id)
    ledger.set_aside(store.job(attacked))
    ledger.set_aside(store.job(told))
    RunCommands(store).stop(told)
    RunCommands(store).pause(mine)
    release(store, ledger.worker)
    status = {id: store.job(id).status for id in (cell, attacked, told, mine)}
    assert status == {cell: "queued", attacked: "queued", told: "stopped", mine: "paused"}
    other = WorkerStore(store)
    for _ in range(4):  # as often as it happens
        claimed(other, cell)
        release(store, other.worker)
    assert store.job(cell).status == "queued"
    assert Watch(store).unanswered() == []


def test_a_worker_out_of_reach_writes_nothing_more(store: Store) -> None:
    """Such as a command line in another terminal, whose round ends after its run was stopped."""
    ledger = WorkerStore(store)
    job = ledger.start(SMALL)
    rounds = run_job.carry_out_run(ledger, job)
    next(rounds)
    RunCommands(store).stop(job.id)
    settle(store, ledger.worker, job.id)
    assert store.job(job.id).status == "stopped"
    assert list(rounds) == []
    assert len(store.rounds(job.id)) == 1
    RunCommands(store).resume(job.id)
    other = WorkerStore(store)
    claimed(other, job.id)
    list(run_job.carry_out_run(other, store.job(job.id)))
    assert store.job(job.id).status == "finished"


def test_the_supervisor_ends_in_the_store_what_it_cannot_kill(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(SMALL)
    RunCommands(store).stop(job.id)
    supervisor, watch = Supervisor(store, 0, patience=0.05), Watch(store)
    supervisor._end_overdue(watch)
    assert store.job(job.id).status == "running"
    time.sleep(0.12)
    supervisor._end_overdue(watch)
    assert store.job(job.id).status == "stopped"


def test_an_attack_that_was_set_aside_is_stopped_without_killing_its_worker(store: Store) -> None:
    """Its worker is inside somebody else's round."""
    ledger = WorkerStore(store)
    run = ledger.start(SMALL)
    list(run_job.carry_out_run(ledger, run))
    attack = ledger.start_attack(run.id, AttackRequest.read({"kind": "loss-threshold", "round": 1}))
    ledger.set_aside(attack)
    RunCommands(store).stop(attack.id)
    (told,) = Watch(store).unanswered()
    assert not told.running
    settle(store, told.worker, told.job)
    ended = store.job(attack.id)
    assert (ended.status, ended.message) == ("stopped", "stopped by hand, without a result")
