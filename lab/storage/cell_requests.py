"""Wishes: who wants which cells of sweeps.

A cell is run once, however many visitors want it.  It takes its turn among those of whoever asked
first; when that visitor calls it off or has left, it passes to who asked next, and a cell that
nobody wants any more is called off, unless it is at work: then it is carried to its end, and kept.
What the command line wants is wanted by a visitor without a name, who never leaves.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, true, update

from lab.common.settings import SettingError
from lab.storage.database import jobs, owners, requested_cells, visitors
from lab.storage.visitors import ACTIVE, heartbeat, limits_of


def check_cells(connection: Connection, visitor: str, cells: Sequence[str]) -> None:
    """Raises SettingError where these are too many, with what the visitor's sweeps wait for."""
    if not visitor or not (most := limits_of(connection).cells):
        return
    others = _open(connection, [visitor]) - set(cells)
    if len(cells) + len(others) > most:
        besides = f", beside {len(others)} of your other sweeps" if others else ""
        raise SettingError(
            f"{len(cells)} runs of this sweep are missing{besides}, and here one may ask for "
            f"{most} at once: choose fewer values or seeds, or wait for what you have asked for"
        )


def request_cells(connection: Connection, visitor: str, cells: Sequence[str]) -> None:
    """That visitor wants those cells, too."""
    mine = and_(requested_cells.c.visitor == visitor, requested_cells.c.job.in_(cells))
    known = set(connection.scalars(select(requested_cells.c.job).where(mine)))
    now = time.time()
    rows = [{"job": id, "visitor": visitor, "asked": now} for id in cells if id not in known]
    if rows:
        connection.execute(insert(requested_cells), rows)
        _hand_over(connection, cells)
    if not visitor:  # so that what the command line wants takes turns with the rest
        heartbeat(connection, visitor)


def clear_requests(connection: Connection, cells: Sequence[str]) -> None:
    """What was wanted before these began anew."""
    connection.execute(delete(requested_cells).where(requested_cells.c.job.in_(cells)))


def withdraw(
    connection: Connection, names: Sequence[str], cells: Sequence[str] | None = None
) -> None:
    """Those visitors want those cells no more; by default none at all."""
    lost = _open(connection, names, cells)
    which = true() if cells is None else requested_cells.c.job.in_(cells)
    connection.execute(delete(requested_cells).where(requested_cells.c.visitor.in_(names), which))
    _hand_over(connection, lost)


def wanted(connection: Connection, names: Sequence[str], cells: Sequence[str]) -> int:
    """How many of those cells wait or are at work for one of those visitors."""
    return len(_open(connection, names, cells))


def of_visitors(connection: Connection) -> dict[str, tuple[int, int]]:
    """How many cells are at work and wait, by who wants them."""
    query = select(requested_cells.c.visitor, jobs.c.status, func.count())
    query = query.join(jobs, jobs.c.id == requested_cells.c.job).where(jobs.c.status.in_(ACTIVE))
    rows = connection.execute(query.group_by(requested_cells.c.visitor, jobs.c.status)).all()
    counts = {(visitor, status): int(count) for visitor, status, count in rows}
    those = sorted({visitor for visitor, _ in counts})
    return {one: (counts.get((one, "running"), 0), counts.get((one, "queued"), 0)) for one in those}


def left(connection: Connection, since: float) -> list[str]:
    """Visitors who want cells, and were last seen before that time."""
    query = select(requested_cells.c.visitor).join(
        visitors, visitors.c.id == requested_cells.c.visitor
    )
    gone = query.where(visitors.c.seen < since, visitors.c.id != "")
    return list(connection.scalars(gone.distinct()))


def _open(
    connection: Connection, names: Sequence[str], cells: Sequence[str] | None = None
) -> set[str]:
    """What they want of that and is not done yet."""
    query = select(requested_cells.c.job).join(jobs, jobs.c.id == requested_cells.c.job)
    query = query.where(requested_cells.c.visitor.in_(names), jobs.c.status.in_(ACTIVE))
    found = connection.scalars(
        query if cells is None else query.where(requested_cells.c.job.in_(cells))
    )
    return set(found)


def _hand_over(connection: Connection, cells: Sequence[str] | set[str]) -> None:
    """To whoever of those who still want it asked first."""
    query = select(requested_cells).where(requested_cells.c.job.in_(cells))
    first: dict[str, str] = {}
    for row in connection.execute(
        query.order_by(requested_cells.c.asked, requested_cells.c.visitor)
    ).all():
        first.setdefault(row.job, row.visitor)
    connection.execute(delete(owners).where(owners.c.job.in_(cells)))
    if first:
        rows = [{"job": id, "visitor": visitor} for id, visitor in first.items()]
        connection.execute(insert(owners), rows)
    dead = and_(jobs.c.status == "running", jobs.c.lease < time.time())
    unwanted = and_(jobs.c.id.in_(set(cells) - set(first)), or_(jobs.c.status == "queued", dead))
    connection.execute(update(jobs).where(unwanted).values(status="stopped", worker=None))
