"""Sweeps in a class: who asked for a run of one, whose turn it is, and who may call it off."""

from __future__ import annotations

import time
from typing import Any

import pytest
from sqlalchemy import update

from lab.common.settings import SettingError
from lab.experiment import presets
from lab.experiment.experiment import Experiment
from lab.storage.administration import (
    SweepStatus,
    call_off,
    pause_abandoned,
    presences,
    queue,
    set_limits,
    sweeping,
)
from lab.storage.database import visitors, writing
from lab.storage.job import Job
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.visitors import CLASS, GRACE, Limits, visitor_of
from lab.storage.worker_store import WorkerStore
from lab.sweeps.sweep import Sweep
from lab.sweeps.tradeoff_study import Study
from tests.support.sweeps import sweep

ANN, BEN = visitor_of("cookie of Ann"), visitor_of("cookie of Ben")
CLASSMATES = [visitor_of(f"cookie of {number}") for number in range(10)]


@pytest.fixture(autouse=True)
def _visits(store: Store) -> None:
    for visitor in (ANN, BEN, *CLASSMATES):
        RunCommands(store).seen(visitor)


def grid(store: Store, *seeds: int, **changed: Any) -> SweepRuns:
    """Four runs for each seed."""
    return SweepRuns(store, sweep(seeds=list(seeds), **changed))


def claimed(store: Store, count: int, cells: bool = True) -> list[Job]:
    """What so many workers take up, none of which ends anything."""
    found = [WorkerStore(store).claim(cells=cells) for _ in range(count)]
    return [job for job in found if job]


def whose(store: Store, jobs: list[Job]) -> list[str]:
    return [store.owner(job.id) for job in jobs]


def absent(store: Store, visitor: str, seconds: float) -> None:
    with writing(store.engine) as connection:
        then = time.time() - seconds
        connection.execute(update(visitors).where(visitors.c.id == visitor).values(seen=then))


# --- turns ----------------------------------------------------------------------------------------


def test_ten_live_runs_and_a_big_sweep_come_on_in_fair_turns(store: Store) -> None:
    """Two workers busy with the sweep set it aside; its owner's own run waits for no more turns."""
    big = grid(store, *range(5))
    big.start(visitor=ANN)
    ledgers = [WorkerStore(store), WorkerStore(store)]
    cells = [ledger.claim() for ledger in ledgers]
    assert [job.kind for job in cells if job] == ["cell", "cell"]
    (experiment, *_) = big.sweep.experiments.values()
    first = [RunCommands(store).create(experiment, visitor=who) for who in (*CLASSMATES, ANN)]
    second = [RunCommands(store).create(experiment, visitor=who) for who in (ANN, *CLASSMATES)]
    assert store.place(first[0]) == 0  # cells at work are set aside for it
    order: list[str] = []
    for turn in range(22):  # each worker carries out one run after the other
        job = ledgers[turn % 2].claim(cells=False)
        assert job is not None
        order.append(store.owner(job.id))
        ledgers[turn % 2].settle(job, "finished")
    assert sorted(order[:11]) == sorted([*CLASSMATES, ANN])  # nobody is second before all are first
    assert sorted(order[11:]) == sorted([*CLASSMATES, ANN])
    assert ledgers[0].claim(cells=False) is None
    assert all(store.job(id).status == "finished" for id in (*first, *second))
    after = ledgers[0].claim()
    assert after is not None
    assert after.kind == "cell"


def test_live_runs_never_wait_for_cells(store: Store) -> None:
    grid(store, *range(3)).start(visitor=ANN)
    (experiment, *_) = sweep().experiments.values()
    runs = [RunCommands(store).create(experiment, visitor=who) for who in CLASSMATES]
    assert [job.id for job in claimed(store, 11)][:10] == runs
    assert store.place(runs[-1]) == 0


def test_sweeps_of_visitors_take_turns_however_large_one_is(store: Store) -> None:
    grid(store, *range(5)).start(visitor=ANN)
    small = grid(store, 7)
    small.start(visitor=BEN)
    assert whose(store, claimed(store, 8)) == [ANN, BEN] * 4
    ledger, order = WorkerStore(store), []
    grid(store, 8).start(visitor=BEN)
    while len(order) < 8 and (job := ledger.claim()) is not None:  # one worker, one by one
        order.append(store.owner(job.id))
        ledger.settle(job, "finished")
    assert order == [ANN, BEN] * 4


def test_a_sweep_of_the_command_line_takes_turns_too(store: Store) -> None:
    grid(store, *range(5)).start()
    grid(store, 7).start(visitor=BEN)
    assert whose(store, claimed(store, 8)) == ["", BEN] * 4


def test_a_sweep_knows_how_much_comes_before_it(store: Store) -> None:
    big, small = grid(store, 0), grid(store, 1)
    big.start(visitor=ANN)
    assert big.before() == 0
    small.start(visitor=BEN)
    assert small.before() == 1  # Ann's first
    (experiment, *_) = big.sweep.experiments.values()
    RunCommands(store).create(experiment, visitor=ANN)
    assert (big.before(), small.before()) == (1, 2)


# --- two who want the same ------------------------------------------------------------------------


def test_what_two_want_is_run_once_and_outlives_either(store: Store) -> None:
    mine, theirs = grid(store, 0, 1), grid(store, 1, 2)
    mine.start(visitor=ANN)
    theirs.start(visitor=BEN)
    assert (mine.wanted([ANN]), mine.wanted([BEN]), theirs.wanted([BEN])) == (8, 4, 8)
    shared = [key for key in mine.keys if key in set(theirs.keys)]
    assert {store.owner(key) for key in shared} == {ANN}  # who asked first
    mine.cancel([ANN])
    assert {store.job(key).status for key in shared} == {"queued"}
    assert {store.owner(key) for key in shared} == {BEN}
    assert (mine.progress().open, theirs.progress().open) == (4, 8)
    theirs.cancel([BEN])
    assert (mine.progress().open, theirs.progress().open) == (0, 0)


def test_nobody_calls_off_what_others_want(store: Store) -> None:
    mine = grid(store, 0)
    mine.start(visitor=ANN)
    mine.cancel([BEN])
    assert mine.progress().open == 4
    mine.start()
    mine.cancel([ANN])
    assert mine.progress().open == 4  # the command line waits for it
    mine.cancel()
    assert mine.progress().open == 0


def test_what_is_at_work_is_carried_to_its_end_and_what_a_dead_worker_held_is_not(
    store: Store,
) -> None:
    mine = grid(store, 0)
    mine.start(visitor=ANN)
    busy, dead = WorkerStore(store), WorkerStore(store)
    held, lost = busy.claim(), dead.claim()
    assert held is not None
    assert lost is not None
    dead.abandon(dead.worker)
    mine.cancel([ANN])
    assert store.job(held.id).status == "running"
    assert store.job(lost.id).status == "stopped"
    assert mine.progress().open == 1


def test_wishes_of_long_ago_are_forgotten_when_a_run_begins_anew(store: Store) -> None:
    mine = grid(store, 0)
    mine.start(visitor=ANN)
    ledger = WorkerStore(store)
    for job in [ledger.claim() for _ in range(4)]:
        assert job is not None
        ledger.settle(job, "failed")
    mine.start(visitor=BEN)
    assert (mine.wanted([ANN]), mine.wanted([BEN])) == (0, 4)
    mine.cancel([BEN])
    assert mine.progress().open == 0


# --- who has left ---------------------------------------------------------------------------------


def test_a_sweep_is_called_off_when_its_visitor_has_left(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GRACE, "60")
    mine, theirs, nobodys = grid(store, 0, 1), grid(store, 1), grid(store, 2)
    mine.start(visitor=ANN)
    theirs.start(visitor=BEN)
    nobodys.start()
    absent(store, ANN, 59)
    absent(store, "", 1e6)
    pause_abandoned(store)
    assert mine.progress().open == 8
    absent(store, ANN, 61)
    pause_abandoned(store)
    assert [one.progress().open for one in (mine, theirs, nobodys)] == [4, 4, 4]


# --- limits ---------------------------------------------------------------------------------------


def test_one_may_ask_for_so_many_runs_of_sweeps(store: Store) -> None:
    set_limits(store, Limits(cells=10))
    grid(store, 0, 1).start(visitor=ANN)
    grid(store, 0, 1).start(visitor=ANN)  # the same ones again are no more
    told = r"4 runs of this sweep are missing, beside 8 of your other sweeps.*10 at once: choose"
    with pytest.raises(SettingError, match=told):
        grid(store, 2).start(visitor=ANN)
    assert grid(store, 2).progress().open == 0
    grid(store, *range(2, 4)).start(visitor=BEN)
    grid(store, *range(4, 9)).start()  # the command line has no limit
    grid(store, 0).cancel([ANN])
    grid(store, 2).start(visitor=ANN)


def test_a_sweep_may_have_no_longer_runs_than_a_run(store: Store) -> None:
    set_limits(store, Limits(rounds=1))
    with pytest.raises(SettingError, match=r"training\.rounds is 2, and here a run may have 1"):
        grid(store, 0).start(visitor=ANN)
    grid(store, 0).start()


def test_every_sweep_that_a_page_offers_is_within_the_limits_of_a_class(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLASS, "1")
    files = [*presets.sweeps().values(), *presets.leaks().values()]
    offered = [Sweep.from_file(file) for file in files]
    offered += [Study.from_file(file).sweep for file in presets.tradeoffs().values()]
    usual = Limits()
    assert max(len(one.experiments) for one in offered) <= usual.cells
    runs = [Experiment.from_file(file) for file in presets.experiments().values()]
    runs += [each for one in offered for each in one.experiments.values()]
    assert max(each.training.rounds for each in runs) <= usual.rounds


# --- the office -----------------------------------------------------------------------------------


def test_the_office_sees_sweeps_by_visitor_and_calls_them_off(store: Store) -> None:
    mine, theirs = grid(store, 0, 1), grid(store, 1)
    mine.start(visitor=ANN)
    theirs.start(visitor=BEN)
    nobodys = grid(store, 5)
    nobodys.start()
    claimed(store, 1)
    assert queue(store) == []  # which is of runs and attacks
    seen = {each.visitor: each for each in sweeping(store)}
    assert set(seen) == {ANN, BEN, ""}
    assert sum(each.running for each in seen.values()) == 1
    assert seen[BEN] == SweepStatus(BEN, 0, 4)
    assert {each.jobs for each in presences(store)} == {0}  # cells are nobody's jobs
    assert "" not in {each.visitor for each in presences(store)}
    call_off(store, [ANN, ""])
    assert theirs.progress().open == 4
    assert mine.progress().open + nobodys.progress().open == 4 + 1
