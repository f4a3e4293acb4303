"""A claimed cell of sweeps, round by round."""

from __future__ import annotations

import time
from collections.abc import Generator

from lab.attack_runs.shared.attack_request import AttackSpec
from lab.common.settings import SettingError
from lab.engine.evaluation.record import RoundRecord
from lab.engine.run import run
from lab.engine.run_state import RunStopped
from lab.jobs.job_ending import JobEnding, settled
from lab.storage.job import Job
from lab.storage.worker_store import WorkerStore
from lab.sweeps.attacked_run import EARLY, attacked_at_end, attacked_on_the_way

SELDOM = 1.0  # the same for a cell of sweeps


def carry_out_cell(ledger: WorkerStore, job: Job) -> Generator[int, None, None]:
    """Carry out a claimed cell of sweeps, round by round.  Only what it measured is stored."""
    steps = leaks(ledger, job, job.aim) if job.aim else measures(ledger, job)
    return settled(ledger, job, steps, ("queued", ""))


def leaks(ledger: WorkerStore, job: Job, aim: AttackSpec) -> Generator[int, None, JobEnding]:
    """A cell that ends with an attack.  What cannot be attacked is refused, with the reason."""
    ledger.forget_glimpses(job)
    shown, number = float("-inf"), 0
    try:
        for glimpse in attacked_at_end(job.experiment, aim):
            if glimpse and (glimpse.result or time.monotonic() - shown > SELDOM):
                number, shown = number + 1, time.monotonic()
                ledger.show(job, number, glimpse)
            if glimpse and glimpse.result:
                ledger.note(job, {"attack": glimpse.result.dump()})
            yield number
    except (SettingError, RunStopped) as error:
        ledger.note(job, {"refused": str(error)})
    return "finished", ""


def measures(ledger: WorkerStore, job: Job) -> Generator[int, None, JobEnding]:
    found: list[RoundRecord] = []
    leaks = dict.fromkeys(range(len(job.probes)), EARLY)
    message = ""
    try:
        for moment, told in attacked_on_the_way(job.experiment, run(job.experiment), job.probes):
            found.append(moment.record)
            leaks |= told
            yield moment.record.round
    except SettingError as error:
        return "failed", str(error)
    except RunStopped as error:  # such as a budget that is used up: what was measured counts
        message = str(error)
    if not found:
        return "failed", message
    accuracy, backdoor = [each.accuracy for each in found], [each.backdoor for each in found]
    besides = {"probes": list(leaks.values())} if leaks else {}
    ledger.note(job, {"accuracy": accuracy, "backdoor": backdoor} | besides)
    return "finished", message
