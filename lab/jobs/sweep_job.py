"""A claimed cell of sweeps, round by round."""

from __future__ import annotations

import time
from collections.abc import Generator

from lab.attack_runs.shared.attack_request import Aim
from lab.common.settings import SettingError
from lab.engine.evaluation.record import Record
from lab.engine.run import run
from lab.engine.run_state import Stopped
from lab.jobs.job_ending import Ending, settled
from lab.storage.job import Job
from lab.storage.worker_store import Ledger
from lab.sweeps.attacked_run import EARLY, probed, raided

SELDOM = 1.0  # the same for a cell of sweeps


def measured(ledger: Ledger, job: Job) -> Generator[int, None, None]:
    """Carry out a claimed cell of sweeps, round by round.  Only what it measured is stored."""
    steps = leaks(ledger, job, job.aim) if job.aim else measures(ledger, job)
    return settled(ledger, job, steps, ("queued", ""))


def leaks(ledger: Ledger, job: Job, aim: Aim) -> Generator[int, None, Ending]:
    """A cell that ends with an attack.  What cannot be attacked is refused, with the reason."""
    ledger.forget_glimpses(job)
    shown, number = float("-inf"), 0
    try:
        for glimpse in raided(job.experiment, aim):
            if glimpse and (glimpse.result or time.monotonic() - shown > SELDOM):
                number, shown = number + 1, time.monotonic()
                ledger.show(job, number, glimpse)
            if glimpse and glimpse.result:
                ledger.note(job, {"attack": glimpse.result.dump()})
            yield number
    except (SettingError, Stopped) as error:
        ledger.note(job, {"refused": str(error)})
    return "finished", ""


def measures(ledger: Ledger, job: Job) -> Generator[int, None, Ending]:
    found: list[Record] = []
    leaks = dict.fromkeys(range(len(job.probes)), EARLY)
    message = ""
    try:
        for moment, told in probed(job.experiment, run(job.experiment), job.probes):
            found.append(moment.record)
            leaks |= told
            yield moment.record.round
    except SettingError as error:
        return "failed", str(error)
    except Stopped as error:  # such as a budget that is used up: what was measured counts
        message = str(error)
    if not found:
        return "failed", message
    accuracy, backdoor = [each.accuracy for each in found], [each.backdoor for each in found]
    besides = {"probes": list(leaks.values())} if leaks else {}
    ledger.note(job, {"accuracy": accuracy, "backdoor": backdoor} | besides)
    return "finished", message
