"""Jobs: the worker processes that pull runs, attacks and cells, and the supervisor of workers.

A worker is a process of its own that outlives pages and server.  It takes one job at a time,
writes what comes into the store, and looks there for commands between rounds.  After a turn it goes
on with another visitor's: a run from its checkpoint later on, an attack from where it was.
"""

from __future__ import annotations

import os
import time
import traceback
from contextlib import ExitStack, closing

from lab.common.thread_time import not_counted
from lab.common.threads import start_threads
from lab.jobs.attack_job import attacking
from lab.jobs.run_job import carry_out_run
from lab.jobs.suspended_attacks import SuspendedAttacks
from lab.jobs.sweep_job import carry_out_cell
from lab.jobs.worker_settings import NAP, longest_idle
from lab.storage.job import Job
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

TURN = 5.0  # seconds of a run or an attack, after which another visitor's job goes first


def work(store: Store, token: str, idle: float | None = None) -> None:
    """A worker's life: one job after the other, until there was none for `idle` seconds."""
    idle = longest_idle() if idle is None else idle
    if hasattr(os, "nice"):
        os.nice(5)  # pages go first: they ask for little, and somebody waits for it
    start_threads()
    last = time.monotonic()
    with closing(SuspendedAttacks(WorkerStore(store, token))) as aside:
        while time.monotonic() - last < idle:
            job = aside.claim()
            if job is None:
                time.sleep(NAP)
                continue
            _carry_out(aside, job)
            last = time.monotonic()


def _carry_out(aside: SuspendedAttacks, job: Job) -> None:
    """A turn of it.  A cell stands still between two rounds as long as anything else waits."""
    try:
        if job.kind != "cell":
            _take_turn(aside, job)
            return
        with closing(carry_out_cell(aside.ledger, job)) as rounds:
            for _ in rounds:
                with not_counted():
                    while (urgent := aside.claim(cells=False)) is not None:
                        _carry_out(aside, urgent)
    except Exception:  # our bug: told in the store and in the log, and the next job is tried
        traceback.print_exc()


def _take_turn(aside: SuspendedAttacks, job: Job) -> None:
    """A run or an attack, until it ends, or has had its turn and another visitor waits."""
    began, attack = time.monotonic(), job.kind == "attack"
    fresh = attacking(aside.ledger, job) if attack else carry_out_run(aside.ledger, job, "queued")
    with ExitStack() as leaving:
        steps = aside.take(job.id, fresh)
        leaving.callback(steps.close)
        for _ in steps:
            aside.listen()
            if time.monotonic() - began > TURN and aside.gives_way(job):
                if attack:  # which has no checkpoint
                    leaving.pop_all()
                    aside.put(job, steps)
                return
