"""The office: looking after a class.  Who waits, who is there, what may be asked for, what goes."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import (
    Column,
    Table,
    and_,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from lab.common.settings import SettingError
from lab.storage.array_disposal import remove_unused, sweep, uploaded
from lab.storage.cell_requests import left, of_visitors, withdraw
from lab.storage.database import (
    attack_progress,
    commands,
    jobs,
    limits,
    notes,
    owners,
    reading,
    records,
    visitors,
    watched_runs,
    writing,
)
from lab.storage.job_queue import queue_order
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.visitors import ACTIVE, Limits, grace, limits_of


@dataclass(frozen=True)
class QueuedJob:
    """A run or an attack that waits or is at work."""

    id: str
    kind: str
    visitor: str  # empty: of the command line
    status: str
    round: int
    place: int  # in the queue, from 0


@dataclass(frozen=True)
class VisitorStatus:
    """A visitor, as far as the store knows it."""

    visitor: str
    seen: float  # seconds ago
    active: int  # of its runs and attacks
    jobs: int


@dataclass(frozen=True)
class SweepStatus:
    """What a visitor's sweeps have to do yet.  Some of it others may want, too."""

    visitor: str  # empty: the command line
    running: int
    waiting: int


def queue(store: Store) -> list[QueuedJob]:
    """Runs and attacks at work, and those that wait, in the order in which they are taken up."""
    query = (
        select(jobs.c.id, jobs.c.kind, jobs.c.status, jobs.c.round, owners.c.visitor)
        .outerjoin(owners, owners.c.job == jobs.c.id)
        .where(jobs.c.status.in_(ACTIVE), jobs.c.kind != "cell")
    )
    with reading(store.engine) as connection:
        rows, order = connection.execute(query).all(), queue_order(connection)
    places = {id: place for place, id in enumerate(order)}
    found = [
        QueuedJob(row.id, row.kind, row.visitor or "", row.status, row.round, places.get(row.id, 0))
        for row in rows
    ]
    return sorted(found, key=lambda each: (each.status == "queued", each.place, each.id))


def sweeping(store: Store) -> list[SweepStatus]:
    with reading(store.engine) as connection:
        return [SweepStatus(one, *counts) for one, counts in of_visitors(connection).items()]


def call_off(store: Store, visitors: Sequence[str]) -> None:
    """All sweeps of those visitors.  What others want of them, too, goes on."""
    with writing(store.engine) as connection:
        withdraw(connection, visitors)


def presences(store: Store) -> list[VisitorStatus]:
    """Who was there last, first."""
    busy = func.sum(case((jobs.c.status.in_(ACTIVE), 1), else_=0))
    query = (
        select(visitors.c.id, visitors.c.seen, func.count(jobs.c.id), func.coalesce(busy, 0))
        .outerjoin(owners, owners.c.visitor == visitors.c.id)
        .outerjoin(jobs, and_(jobs.c.id == owners.c.job, jobs.c.kind != "cell"))
        .where(visitors.c.id != "")
        .group_by(visitors.c.id, visitors.c.seen)
        .order_by(visitors.c.seen.desc())
    )
    now = time.time()
    with reading(store.engine) as connection:
        rows = connection.execute(query).all()
    return [VisitorStatus(id, now - seen, int(active), count) for id, seen, count, active in rows]


def limits_now(store: Store) -> Limits:
    with reading(store.engine) as connection:
        return limits_of(connection)


def set_limits(store: Store, chosen: Limits) -> None:
    """They hold for what is asked for from now on."""
    with writing(store.engine) as connection:
        connection.execute(delete(limits))
        rows = [{"name": name, "value": value} for name, value in chosen.dump().items()]
        connection.execute(insert(limits), rows)


def pause_abandoned(store: Store) -> int:
    """Runs of visitors who have left are paused, attacks stopped, sweeps called off.

    A visitor has left when none of its pages was open for the grace period.  -> how many runs and
    attacks
    """
    if not (seconds := grace()):
        return 0
    since = time.time() - seconds
    gone = select(visitors.c.id).where(visitors.c.seen < since)
    behind = select(owners.c.job).where(owners.c.visitor.in_(gone))
    query = select(jobs.c.id, jobs.c.kind).where(
        jobs.c.id.in_(behind), jobs.c.kind != "cell", jobs.c.status.in_(ACTIVE)
    )
    with reading(store.engine) as connection:
        rows, names = connection.execute(query).all(), left(connection, since)
    if names:
        call_off(store, names)
    steering = RunCommands(store)
    for row in rows:
        end = steering.pause if row.kind == "run" else steering.stop
        end(row.id)
        message = f"nobody has looked at it for {seconds} seconds"
        with writing(store.engine) as connection:
            connection.execute(update(jobs).where(jobs.c.id == row.id).values(message=message))
    return len(rows)


def delete_runs(store: Store, runs: Iterable[str]) -> int:
    """Delete runs for good, with the attacks on them, their arrays and uploaded pictures.

    runs: ids; an attack's id deletes that attack alone.  Returns how many runs were deleted.
    Raises SettingError for one that waits or is at work, before anything is lost.
    """
    chosen = list(runs)
    with writing(store.engine) as connection:
        whole = or_(jobs.c.id.in_(chosen), jobs.c.run.in_(chosen))
        rows = connection.execute(select(jobs.c.id, jobs.c.kind, jobs.c.status).where(whole)).all()
        if busy := [row.id for row in rows if row.status in ACTIVE]:
            raise SettingError(
                f"{', '.join(busy)} waits or is at work: stop it first, or wait for it"
            )
        ids = [row.id for row in rows]
        used = [
            *connection.scalars(select(records.c.arrays).where(records.c.run.in_(ids))),
            *connection.scalars(select(records.c.memory).where(records.c.run.in_(ids))),
            *connection.scalars(
                select(attack_progress.c.arrays).where(attack_progress.c.attack.in_(ids))
            ),
            *connection.scalars(select(uploaded).where(jobs.c.id.in_(ids))),
        ]
        parts: list[tuple[Table, Column[str]]] = [
            (records, records.c.run),
            (attack_progress, attack_progress.c.attack),
            (commands, commands.c.job),
            (owners, owners.c.job),
            (notes, notes.c.run),
            (watched_runs, watched_runs.c.run),
        ]
        for table, column in parts:
            connection.execute(delete(table).where(column.in_(ids)))
        connection.execute(delete(jobs).where(and_(jobs.c.id.in_(ids), jobs.c.kind == "attack")))
        connection.execute(delete(jobs).where(jobs.c.id.in_(ids)))
        remove_unused(connection, store.arrays, used)
    sweep(store.engine, store.arrays)
    return sum(row.kind == "run" for row in rows)
