"""A claimed attack, glimpse by glimpse."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import replace

from lab.attack_runs.dispatch import start_attack
from lab.jobs.job_ending import JobEnding, settled
from lab.jobs.polling import poll
from lab.scoring.attack_result import AttackProgress
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.storage.worker_store import WorkerStore

APART = 0.15  # seconds between two stored glimpses of an attack


LOOK = 0.2  # seconds after which a command is seen, whatever an attack is busy with


def carry_out_attack(ledger: WorkerStore, job: Job) -> Generator[AttackProgress, None, None]:
    """Carry out a claimed attack; a few glimpses a second, and the last, go into the store."""
    with closing(attacking(ledger, job)) as steps:
        yield from (glimpse for glimpse in steps if glimpse is not None)


def attacking(ledger: WorkerStore, job: Job) -> Generator[AttackProgress | None, None, None]:
    """The same, and None a few times a second where there is nothing new."""
    return settled(ledger, job, glimpses(ledger, job), ("stopped", "interrupted"))


def glimpses(ledger: WorkerStore, job: Job) -> Generator[AttackProgress | None, None, JobEnding]:
    ledger.forget_glimpses(job)
    number, last = 0, None
    began, left = time.monotonic(), ledger.longest(job)

    def found() -> Iterator[AttackProgress]:
        yield from start_attack(job.order, StoredRun(ledger.store, str(job.run)), APART)

    with closing(poll(found(), LOOK)) as glimpses:
        try:
            for glimpse in glimpses:
                if glimpse is not None:
                    number, last = number + 1, glimpse
                    ledger.show(job, number, glimpse)
                    if glimpse.result:
                        ledger.note(job, glimpse.result.dump())
                left -= time.monotonic() - began
                yield glimpse
                began = time.monotonic()  # others may have had a turn
                for command, _, _ in ledger.commands(job):
                    ledger.carried_out(job, command, "done")
                    keep(ledger, job, number, last, "by hand")
                    return "stopped", "stopped by hand"
                if last is not None and left < 0:  # with something to show for it
                    keep(ledger, job, number, last, "at its time limit")
                    return "stopped", "stopped at the time limit of this lab"
        except (KeyboardInterrupt, GeneratorExit):
            keep(ledger, job, number, last, "interrupted")
            raise
    return "finished", ""


def keep(ledger: WorkerStore, job: Job, number: int, last: AttackProgress | None, why: str) -> None:
    """The best guess of an attack that ends before its time, with its score."""
    if last is None or last.result or last.conclude is None:
        return
    result = last.conclude(why)
    ledger.show(job, number + 1, replace(last, score=result.score, result=result))
    ledger.note(job, result.dump())
