"""A claimed run, round by round."""

from __future__ import annotations

import time
from collections.abc import Generator
from dataclasses import replace

from lab.attack_runs.reconstruction.quick_look import quick_look
from lab.common.settings import SettingError
from lab.engine.run import run
from lab.engine.run_state import RunState
from lab.jobs.job_ending import JobEnding, settled
from lab.storage.job import Job, Status, StoredRound
from lab.storage.replay import StoredRun
from lab.storage.worker_store import WorkerStore


def carry_out_run(
    ledger: WorkerStore, job: Job, interrupted: Status = "paused"
) -> Generator[StoredRound, None, None]:
    """Carry on a claimed run until it ends or is told to; every round yielded is in the store."""
    return settled(ledger, job, rounds(ledger, job), (interrupted, ""))


def rounds(ledger: WorkerStore, job: Job) -> Generator[StoredRound, None, JobEnding]:
    state = StoredRun(ledger.store, job.id).state()
    moments = run(state.experiment, state)
    while True:
        for number, kind, settings in ledger.commands(job):
            if kind != "change":
                ledger.carried_out(job, number, "done")
                return ("paused" if kind == "pause" else "stopped"), ""
            try:
                changed = state.experiment.changed_from(state.round + 1, settings)
            except SettingError as error:  # another change came first
                ledger.carried_out(job, number, f"refused: {error}")
                continue
            ledger.carried_out(job, number, f"from round {state.round + 1}", changed)
            state = replace(state, experiment=changed)
            moments = run(changed, state)
        began = time.perf_counter()
        moment = next(moments, None)
        if moment is None:
            return "finished", ""
        finished = StoredRound(moment.record, time.perf_counter() - began)
        ledger.finish_round(job, moment, finished.seconds)
        if ledger.store.watched(job.id) and (seen := quick_look(moment)):
            ledger.show(job, moment.record.round, seen)
        state = moment.state
        yield finished
        until, last = ledger.store.job(job.id).until, last_round(state)
        if until is not None and until <= state.round < last:
            return "paused", ""


def last_round(state: RunState) -> int:
    return state.experiment.at(state.round + 1).training.rounds
