"""The grid: a sweep's runs in the store, queued, followed and called off.

Sweeps share the runs that they have in common, and what is finished is never run again.  Workers
take a cell when no run or attack waits.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from torch import Tensor

from lab.schema import glimpses, jobs, reading, writing
from lab.store import ACTIVE, Store
from lab.sweep import Sweep
from lab.tally import Outcome, Tally, tally


@dataclass(frozen=True)
class Standing:
    """How many runs of a sweep have come how far."""

    total: int  # different runs
    finished: int
    failed: int
    open: int  # they wait, or are at work

    @property
    def done(self) -> int:
        return self.finished + self.failed

    @property
    def stopped(self) -> int:
        """Called off, or never asked for."""
        return self.total - self.done - self.open


@dataclass(frozen=True)
class Grid:
    """A sweep in a store.  Several processes may share both."""

    store: Store
    sweep: Sweep

    def start(self, again: bool = True) -> None:
        """Queue what is not finished, and what failed only if it shall be tried again.

        Whoever else wants the same runs may have called them off: call this now and then.
        """
        try:
            self._queue(again)
        except IntegrityError:  # somebody started the same at this moment: now it is there
            self._queue(again)

    def cancel(self) -> None:
        """Call off what waits.  What is at work is carried to its end, and stays."""
        waits = and_(jobs.c.id.in_(self.keys), jobs.c.status == "queued")
        with writing(self.store.engine) as connection:
            connection.execute(update(jobs).where(waits).values(status="stopped"))

    def progress(self) -> Standing:
        count = Counter(outcome.status for outcome in self.outcomes(measured=False).values())
        return Standing(
            total=len(self.keys),
            finished=count["finished"],
            failed=count["failed"],
            open=sum(count[status] for status in ACTIVE),
        )

    def tally(self) -> Tally:
        return tally(self.sweep, self.outcomes())

    def outcomes(self, measured: bool = True) -> dict[str, Outcome]:
        """Of the runs that were ever asked for, by key; without what they measured if need be."""
        columns = [jobs.c.id, jobs.c.status, jobs.c.message, *([jobs.c.result] if measured else [])]
        query = select(*columns).where(jobs.c.id.in_(self.keys))
        with reading(self.store.engine) as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["id"]: Outcome.read(row["status"], row["message"], row.get("result") or {})
            for row in rows
        }

    def pictures(self) -> dict[str, dict[str, Tensor]]:
        """What the attacks have shown last, by key: "guess" beside "private", both in one order."""
        last = select(glimpses.c.attack, func.max(glimpses.c.number).label("number"))
        last = last.where(glimpses.c.attack.in_(self.keys)).group_by(glimpses.c.attack)
        newest = last.subquery()
        same = and_(glimpses.c.attack == newest.c.attack, glimpses.c.number == newest.c.number)
        with reading(self.store.engine) as connection:
            query = select(glimpses.c.attack, glimpses.c.arrays).join(newest, same)
            rows = connection.execute(query).all()
        return {row.attack: self.store.arrays.get(row.arrays) for row in rows}

    @property
    def keys(self) -> list[str]:
        return list(self.sweep.experiments)

    def _queue(self, again: bool) -> None:
        ends = ("stopped", "failed") if again else ("stopped",)
        with writing(self.store.engine) as connection:
            there = select(jobs.c.id, jobs.c.status).where(jobs.c.id.in_(self.keys))
            known = {row.id: row.status for row in connection.execute(there).all()}
            missing = [key for key in self.keys if known.get(key, "stopped") in ends]
            fresh = {"status": "queued", "message": "", "deaths": 0, "worker": None}
            for place, key in zip(_places(connection, len(missing)), missing, strict=True):
                values: dict[str, Any] = fresh | {"queued": place}
                if key in known:
                    connection.execute(update(jobs).where(jobs.c.id == key).values(values))
                    continue
                body = self.sweep.runs[key].body()
                values |= {"id": key, "kind": "cell", "body": body, "created": time.time()}
                connection.execute(insert(jobs).values(values))


def _places(connection: Connection, count: int) -> list[float]:
    """In the queue.  All sweeps begin at its head, so that they take turns, cell by cell."""
    waiting = and_(jobs.c.kind == "cell", jobs.c.status == "queued")
    head = connection.execute(select(func.min(jobs.c.queued)).where(waiting)).scalar()
    return [(time.time() if head is None else head) + number for number in range(count)]
