"""The grid: a sweep's runs in the store, queued, followed and called off.

Sweeps share the runs that they have in common, and what is finished is never run again.  Workers
take a cell when no run or attack waits.  Who may call off what: see `lab.storage.cell_requests`.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from torch import Tensor

from lab.storage.cell_requests import check_cells, clear_requests, request_cells, wanted, withdraw
from lab.storage.database import attack_progress, jobs, reading, writing
from lab.storage.job import ACTIVE
from lab.storage.job_queue import queue_order
from lab.storage.run_limits import check_run
from lab.storage.store import Store
from lab.sweeps.cell_result import CellResult
from lab.sweeps.result_table import ResultTable, result_table
from lab.sweeps.sweep import Sweep


@dataclass(frozen=True)
class SweepProgress:
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
class SweepRuns:
    """A sweep in a store.  Several processes may share both."""

    store: Store
    sweep: Sweep

    def start(self, again: bool = True, visitor: str = "") -> None:
        """Queue what is not finished, and what failed only if it shall be tried again.

        The same command line elsewhere may have called the runs off: call this now and then.
        Raises SettingError for a visitor who asks for too much.
        """
        try:
            self._queue(again, visitor)
        except IntegrityError:  # somebody started the same at this moment: now it is there
            self._queue(again, visitor)

    def cancel(self, names: Sequence[str] = ("",)) -> None:
        """Those visitors, by default the command line, want it no more.

        What waits and nobody else wants is called off.
        """
        with writing(self.store.engine) as connection:
            withdraw(connection, names, self.keys)

    def wanted(self, names: Sequence[str]) -> int:
        """How many of the open runs one of those visitors has asked for."""
        with reading(self.store.engine) as connection:
            return wanted(connection, names, self.keys)

    def before(self) -> int:
        """How many jobs are likely to be taken up before the first of its runs that wait."""
        with reading(self.store.engine) as connection:
            waiting = queue_order(connection, cells=True)
        mine = set(self.keys)
        return next((place for place, id in enumerate(waiting) if id in mine), 0)

    def progress(self) -> SweepProgress:
        count = Counter(outcome.status for outcome in self.outcomes(measured=False).values())
        return SweepProgress(
            total=len(self.keys),
            finished=count["finished"],
            failed=count["failed"],
            open=sum(count[status] for status in ACTIVE),
        )

    def tally(self) -> ResultTable:
        return result_table(self.sweep, self.outcomes())

    def outcomes(self, measured: bool = True) -> dict[str, CellResult]:
        """Of the runs that were ever asked for, by key; without what they measured if need be."""
        columns = [jobs.c.id, jobs.c.status, jobs.c.message, *([jobs.c.result] if measured else [])]
        query = select(*columns).where(jobs.c.id.in_(self.keys))
        with reading(self.store.engine) as connection:
            rows = connection.execute(query).mappings().all()
        return {
            row["id"]: CellResult.read(row["status"], row["message"], row.get("result") or {})
            for row in rows
        }

    def pictures(self) -> dict[str, dict[str, Tensor]]:
        """What the attacks have shown last, by key: "guess" beside "private", both in one order."""
        last = select(attack_progress.c.attack, func.max(attack_progress.c.number).label("number"))
        last = last.where(attack_progress.c.attack.in_(self.keys)).group_by(
            attack_progress.c.attack
        )
        newest = last.subquery()
        same = and_(
            attack_progress.c.attack == newest.c.attack, attack_progress.c.number == newest.c.number
        )
        with reading(self.store.engine) as connection:
            query = select(attack_progress.c.attack, attack_progress.c.arrays).join(newest, same)
            rows = connection.execute(query).all()
        return {row.attack: self.store.arrays.get(row.arrays) for row in rows}

    @property
    def keys(self) -> list[str]:
        return list(self.sweep.experiments)

    def _queue(self, again: bool, visitor: str) -> None:
        ends = ("stopped", "failed") if again else ("stopped",)
        with writing(self.store.engine) as connection:
            there = select(jobs.c.id, jobs.c.status).where(jobs.c.id.in_(self.keys))
            known = {row.id: row.status for row in connection.execute(there).all()}
            missing = [key for key in self.keys if known.get(key, "stopped") in ends]
            asked = [*missing, *(key for key, status in known.items() if status in ACTIVE)]
            check_cells(connection, visitor, asked)
            for key in asked:
                check_run(connection, visitor, self.sweep.experiments[key])
            clear_requests(connection, missing)
            fresh = {"status": "queued", "message": "", "deaths": 0, "worker": None}
            for place, key in zip(_places(connection, len(missing)), missing, strict=True):
                values: dict[str, Any] = fresh | {"queued": place}
                if key in known:
                    connection.execute(update(jobs).where(jobs.c.id == key).values(values))
                    continue
                body = self.sweep.runs[key].body()
                values |= {"id": key, "kind": "cell", "body": body, "created": time.time()}
                connection.execute(insert(jobs).values(values))
            request_cells(connection, visitor, asked)


def _places(connection: Connection, count: int) -> list[float]:
    """In the queue.  All sweeps begin at its head, so that they take turns, cell by cell."""
    waiting = and_(jobs.c.kind == "cell", jobs.c.status == "queued")
    head = connection.execute(select(func.min(jobs.c.queued)).where(waiting)).scalar()
    return [(time.time() if head is None else head) + number for number in range(count)]
