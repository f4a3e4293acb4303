"""Sweeps in the store: runs go first, sweeps take turns, and processes share the cells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import ROOT, run
from lab.jobs.local_sweep import run_sweep_locally
from lab.jobs.supervisor import Supervisor
from lab.jobs.worker import work
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.worker_store import WorkerStore
from lab.sweeps.sweep import Sweep
from tests.support.sweep_cells import ALL, PATIENCE, only
from tests.support.sweeps import GRID


@pytest.fixture
def grid(store: Store) -> SweepRuns:
    return SweepRuns(store, Sweep.from_toml(GRID))


# --- whose turn it is -----------------------------------------------------------------------------


def test_a_run_that_waits_goes_before_all_cells(grid: SweepRuns) -> None:
    grid.start()
    (experiment, *_) = grid.sweep.experiments.values()
    id = RunCommands(grid.store).create(experiment)
    assert grid.store.place(id) == 0
    first = WorkerStore(grid.store).claim()
    assert first is not None
    assert first.id == id
    second = WorkerStore(grid.store).claim(cells=False)
    assert second is None


def test_a_worker_sets_its_cell_aside_for_a_run(
    grid: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And carries it on afterwards, from where it was."""
    one = only(grid, seeds=[0], rows=[{"label": "x"}], columns=[{"label": "y"}])
    one.start()
    (experiment,) = one.sweep.experiments.values()
    ended: list[str] = []
    settle = WorkerStore.settle

    def noted(ledger: WorkerStore, job: Any, *how: Any) -> None:
        ended.append(job.kind)
        settle(ledger, job, *how)

    def interrupted(*given: Any) -> Iterator[Any]:
        for moment in run(*given):
            if moment.record.round == 1 and len(given) == 1:  # of the cell
                RunCommands(grid.store).create(experiment)
            yield moment

    monkeypatch.setattr(WorkerStore, "settle", noted)
    monkeypatch.setattr("lab.jobs.sweep_job.run", interrupted)
    work(grid.store, "worker", idle=0.05)
    assert ended == ["run", "cell"]
    (job,) = grid.store.runs()
    (outcome,) = one.outcomes().values()
    records = [each.record.accuracy for each in grid.store.rounds(job.id)]
    assert outcome.accuracy == tuple(records)


def test_sweeps_take_turns(grid: SweepRuns) -> None:
    """Whoever has a small one does not wait for the whole of a large one."""
    grid.start()
    for _ in range(2):
        WorkerStore(grid.store).claim()
    small = only(grid, seeds=[5])
    small.start()
    turns = [job.id in small.keys for _ in range(8) if (job := WorkerStore(grid.store).claim())]
    assert turns.count(True) == 4
    assert turns[:2].count(True) == 1


def test_open_cells_call_for_workers(grid: SweepRuns) -> None:
    assert WorkerStore(grid.store).load(set()) == (0, 0)
    grid.start()
    mine, other = WorkerStore(grid.store), WorkerStore(grid.store)
    mine.claim()
    other.claim()
    assert WorkerStore(grid.store).load({mine.worker}) == (7, 1)


# --- several processes ----------------------------------------------------------------------------


def test_workers_beside_this_process_share_the_cells_and_end_with_it(
    grid: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = Supervisor._start

    def noted(supervisor: Supervisor) -> None:
        start(supervisor)
        started.extend(supervisor.workers())

    monkeypatch.setattr(Supervisor, "_start", noted)
    steps, end = run_sweep_locally(grid, 2), time.monotonic() + PATIENCE
    next(steps)
    while not grid.progress().finished:  # though this process does nothing
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)
    *_, last = steps
    assert last == ALL
    (worker,) = started
    assert worker.poll() is not None


def test_ctrl_c_keeps_what_is_finished_and_leaves_nothing_behind(
    tmp_path: Path, store_url: str
) -> None:
    path = tmp_path / "long.toml"
    path.write_text(GRID.replace("rounds = 2", "rounds = 60"))
    process = subprocess.Popen(
        [sys.executable, "-m", "lab.cli", "sweep", str(path)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"LEAKLAB_DB": store_url, "LEAKLAB_WORKERS": "2"},
    )  # fmt: skip
    grid, end = SweepRuns(Store(store_url), Sweep.from_file(path)), time.monotonic() + PATIENCE
    while not grid.progress().finished and time.monotonic() < end:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "the same command carries on" in complaint
    assert "Traceback" not in complaint
    left = grid.progress()
    assert 1 <= left.finished < 8
    assert (left.failed, left.open) == (0, 0)
