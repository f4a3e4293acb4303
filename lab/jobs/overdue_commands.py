"""Overdue: stops and pauses that a worker has not answered in time.

A worker hears what a run is told between two rounds.  Where a round takes longer than the patience
of the supervisor, the worker is killed, and the store says here what becomes of its jobs.  Nothing
is half written: each round is stored in one transaction, each file under its name once it is whole.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, select, update

from lab.storage.database import commands, jobs, reading, writing
from lab.storage.store import Store
from lab.storage.visitors import ACTIVE

PATIENCE = 5.0  # seconds that a worker has to answer


@dataclass(frozen=True)
class Unanswered:
    """A stop or a pause that a worker was told, and has not carried out."""

    number: int  # of the command
    job: str
    worker: str
    running: bool  # whether the worker is at work on it; else it has set it aside
    waited: float  # seconds


class Watch:
    """Remembers since when each command has been waiting."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._since: dict[int, float] = {}

    def unanswered(self) -> list[Unanswered]:
        """All of them, the oldest first.  `waited` counts from the first call that saw one."""
        with reading(self.store.engine) as connection:
            rows = _told(connection)
        now = time.monotonic()
        self._since = {row.number: self._since.get(row.number, now) for row in rows}
        return [
            Unanswered(
                number=row.number,
                job=row.id,
                worker=row.worker,
                running=row.status == "running",
                waited=now - self._since[row.number],
            )
            for row in rows
        ]


def settle(store: Store, worker: str, job: str) -> None:
    """End that job as its worker was told to.  What the worker does to it now is not written."""
    with writing(store.engine) as connection:
        for row in _told(connection):
            if (row.worker, row.id) == (worker, job):
                _end(connection, row)


def release(store: Store, worker: str) -> None:
    """After a worker was killed: end what it was told to end, and queue the rest of its jobs.

    Runs carry on after their last finished round, and attacks begin anew.  None of them counts the
    death, which it did not cause.
    """
    with writing(store.engine) as connection:
        for row in _told(connection):
            if row.worker == worker:
                _end(connection, row)
        rest = and_(jobs.c.worker == worker, jobs.c.status.in_(ACTIVE))
        queued = {"status": "queued", "worker": None, "lease": None}
        connection.execute(update(jobs).where(rest).values(queued))


def _told(connection: Connection) -> Sequence[Any]:
    """Open stops and pauses of jobs that a living worker holds."""
    held = and_(jobs.c.status.in_(ACTIVE), jobs.c.worker.is_not(None), jobs.c.lease >= time.time())
    query = (
        select(
            commands.c.number,
            commands.c.kind.label("told"),
            jobs.c.id,
            jobs.c.kind,
            jobs.c.status,
            jobs.c.round,
            jobs.c.worker,
            jobs.c.message,
        )
        .join(jobs, jobs.c.id == commands.c.job)
        .where(commands.c.outcome == "", commands.c.kind != "change", held)
        .order_by(commands.c.number)
    )
    return connection.execute(query).all()


def _end(connection: Connection, row: Any) -> None:
    """row: of `_told`"""
    paused = row.kind == "run" and row.told == "pause"
    at = f"ended within round {row.round + 1}, of which nothing is kept"
    message = row.message or (at if row.kind == "run" else "stopped by hand, without a result")
    ended = {"status": "paused" if paused else "stopped", "message": message}
    mine = and_(jobs.c.id == row.id, jobs.c.status.in_(ACTIVE), jobs.c.worker == row.worker)
    values = ended | {"worker": None, "lease": None}
    connection.execute(update(jobs).where(mine).values(values))
    open_ones = and_(
        commands.c.job == row.id, commands.c.outcome == "", commands.c.kind != "change"
    )
    connection.execute(update(commands).where(open_ones).values(outcome="done"))
