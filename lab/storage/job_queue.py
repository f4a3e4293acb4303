"""The order in which workers take up jobs: visitors take turns."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Select,
    and_,
    func,
    select,
    update,
)

from lab.storage.database import jobs, owners, visitors


def mark_served(connection: Connection, job: str) -> None:
    """A worker takes the job up: others come first next time."""
    whose = select(owners.c.visitor).where(owners.c.job == job).scalar_subquery()
    connection.execute(update(visitors).where(visitors.c.id == whose).values(served=time.time()))


def fair_order(which: ColumnElement[bool], *columns: Column[Any]) -> Select[Any]:
    """Those jobs, whose turn it is first: whoever has least at work, then whoever waits longest.

    Cells of sweeps come after everything else.  columns: of the jobs, by default all
    """
    # A cell that was set aside for somebody's run holds up none of its own visitor's runs.
    late = jobs.c.kind == "cell"
    busy = (
        select(owners.c.visitor, late.label("late"), func.count().label("running"))
        .join(jobs, jobs.c.id == owners.c.job)
        .where(jobs.c.status == "running")
        .group_by(owners.c.visitor, "late")
        .subquery()
    )
    return (
        select(*(columns or jobs.c), owners.c.visitor, busy.c.running, visitors.c.served)
        .select_from(jobs)
        .outerjoin(owners, owners.c.job == jobs.c.id)
        .outerjoin(visitors, visitors.c.id == owners.c.visitor)
        .outerjoin(busy, and_(busy.c.visitor == owners.c.visitor, busy.c.late == late))
        .where(which)
        .order_by(
            late,
            func.coalesce(busy.c.running, 0),
            func.coalesce(visitors.c.served, 0.0),
            jobs.c.queued,
        )
    )


def queue_order(connection: Connection, cells: bool = False) -> list[str]:
    """The ids of what waits, in the order in which it will be taken up, with or without cells.

    As far as can be told now: visitors take turns, each with its oldest job first.
    """
    waits = jobs.c.status == "queued"
    which = waits if cells else and_(waits, jobs.c.kind != "cell")
    rows = connection.execute(fair_order(which, jobs.c.id, jobs.c.kind, jobs.c.queued)).all()
    taken: dict[tuple[bool, str | None], int] = {}
    ranked: list[tuple[bool, int, float, float, str]] = []
    for row in sorted(rows, key=lambda row: float(row.queued)):
        late = row.kind == "cell"
        turn = taken.get((late, row.visitor), row.running or 0) if row.visitor is not None else 0
        taken[late, row.visitor] = turn + 1
        ranked.append((late, turn, row.served or 0.0, row.queued, row.id))
    return [id for *_, id in sorted(ranked)]
