"""Aside: attacks in mid-course, which wait in their worker's memory while others have a turn."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from lab.storage.job import Job
from lab.storage.worker_store import LeaseLostError, WorkerStore

# Attacks that a worker has begun and not ended, for each holds memory: on LeNet some 50 MB.
MOST = 4

Steps = Generator[Any, None, None]


class SuspendedAttacks:
    """What one worker has set aside.  It hears what they are told, whatever it is busy with."""

    def __init__(self, ledger: WorkerStore) -> None:
        self.ledger = ledger
        self._waiting: dict[str, Steps] = {}

    def claim(self, cells: bool = True) -> Job | None:
        """The job whose turn it is, begun here or not."""
        self.listen()
        return self.ledger.claim(cells=cells, attacks=len(self._waiting) < MOST)

    def gives_way(self, job: Job) -> bool:
        """Whether this worker could do something for another visitor in place of that job."""
        begun = len(self._waiting) + (job.kind == "attack")
        return self.ledger.others_wait(job, attacks=begun < MOST)

    def put(self, job: Job, steps: Steps) -> None:
        self._waiting[job.id] = steps
        try:
            self.ledger.set_aside(job)
        except LeaseLostError:
            self.take(job.id, steps).close()

    def take(self, id: str, fresh: Steps) -> Steps:
        """From where it was left, or those if it was not begun here."""
        return self._waiting.pop(id, fresh)

    def listen(self) -> None:
        """End what was told to, and what another worker has by now."""
        for id in self.ledger.called(self._waiting) if self._waiting else ():
            steps = self._waiting.pop(id)
            next(steps, None)  # for it to see what it was told
            steps.close()

    def close(self) -> None:
        """End everything, as if it were at work."""
        while self._waiting:
            self._waiting.popitem()[1].close()
