"""Many hands: a sweep carried out by this process and by workers beside it, which end with it."""

from __future__ import annotations

import time
import traceback
from collections.abc import Generator
from contextlib import closing

from lab.jobs.supervisor import Supervisor
from lab.jobs.sweep_job import carry_out_cell
from lab.jobs.worker_settings import NAP
from lab.storage.sweep_runs import SweepProgress, SweepRuns
from lab.storage.worker_store import WorkerStore


def run_sweep_locally(grid: SweepRuns, most: int) -> Generator[SweepProgress, None, None]:
    """Until every run is done.  Closing it early calls off the rest; what is finished stays.

    most: processes, with this one
    """
    ledger = WorkerStore(grid.store)
    grid.start()
    alone = most < 2 or grid.progress().open < 2
    trainer = None if alone else Supervisor(grid.store, most - 1, ledger.worker)
    try:
        while (now := grid.progress()).done < now.total:
            yield now
            if now.stopped:  # somebody called off what this sweep wants, too
                grid.start(again=False)
            yield from _one(grid, ledger)
        yield now
    finally:
        if trainer is not None:
            trainer.dismiss()
        ledger.abandon(ledger.worker)  # what was claimed just as Ctrl-C came
        grid.cancel()


def _one(grid: SweepRuns, ledger: WorkerStore) -> Generator[SweepProgress, None, None]:
    """The next run that nobody has taken, if there is one."""
    job = ledger.claim(*grid.keys)
    if job is None:
        time.sleep(NAP)
        return
    try:
        with closing(carry_out_cell(ledger, job)) as rounds:
            for _ in rounds:
                yield grid.progress()
    except Exception:  # our bug: told in the table and on the screen, and the next run is tried
        traceback.print_exc()
