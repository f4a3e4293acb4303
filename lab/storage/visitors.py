"""Visitors: whose run is whose, and whose turn it is.

A visitor is a browser, known by the hash of a cookie, or in a class a page without one.  What the
command line starts belongs to nobody: no limit holds for it, and it is never given up.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from hashlib import sha256
from typing import Self

from pydantic import Field
from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)

from lab.common.settings import SettingError, Settings
from lab.storage.database import addresses, jobs, limits, owners, visitors

COOKIE = "leaklab_visitor"
CLASS = "LEAKLAB_CLASS"  # set while the lab is served to other machines, too
GRACE = "LEAKLAB_GRACE"  # seconds after which what a visitor left behind is given up; 0: never
USUAL_GRACE = 300
NOBODY = ("",)  # the name of what the command line does
HEARTBEAT = 30  # seconds between two signs of an open page
ACTIVE = ("queued", "running")


class Limits(Settings):
    """What one visitor may ask for.

    There is no limit for the minutes of a run: how long one takes depends on who else is at work,
    and it gives way to others between two rounds.
    """

    jobs: int = Field(
        6, ge=0, le=1000, description="runs and attacks that wait or run at once; 0: any number"
    )
    minutes: int = Field(
        10, ge=0, le=1440, description="minutes after which an attack ends; 0: whenever it is done"
    )
    rounds: int = Field(500, ge=0, le=2000, description="rounds of one run; 0: any number")
    cells: int = Field(
        400,
        ge=0,
        le=100_000,
        description="runs of sweeps that wait or are at work at once; 0: any number",
    )
    memory: int = Field(
        2000, ge=0, le=1_000_000, description="megabytes that a round may take, estimated; 0: any"
    )
    seconds: int = Field(
        30, ge=0, le=86_400, description="seconds that a round may take, estimated; 0: any"
    )
    storage: int = Field(
        5000, ge=0, le=1_000_000, description="megabytes of models of all runs; 0: any"
    )
    address: int = Field(
        200,
        ge=0,
        le=10_000,
        description="runs and attacks of all visitors from one address at once; 0: any number",
    )

    @classmethod
    def without(cls) -> Self:
        """No limits at all."""
        return cls.read(dict.fromkeys(cls.model_fields, 0))


# Outside a class, as long as nobody sets limits: others have no harm of it.
ALONE = dict.fromkeys(("rounds", "cells", "memory", "seconds", "storage", "address"), 0)


def visitor_of(cookie: str) -> str:
    """The name under which the store knows a browser; it leads nobody back to the cookie."""
    return sha256(cookie.encode()).hexdigest()[:32] if cookie else ""


def is_class() -> bool:
    """Whether others than whoever sits at this machine may visit."""
    return bool(os.environ.get(CLASS))


def identities(visitor: str) -> tuple[str, ...]:
    """Under which names a visitor may command jobs.

    What is nobody's is in the hands of whoever is alone with the machine, and of nobody in a class.
    """
    if not is_class():
        return "", visitor
    return (visitor,) if visitor else ()


def owned_by(names: Sequence[str]) -> ColumnElement[bool]:
    """Jobs that a visitor of those names may command."""
    mine = jobs.c.id.in_(select(owners.c.job).where(owners.c.visitor.in_(names)))
    return or_(mine, ~jobs.c.id.in_(select(owners.c.job))) if "" in names else mine


def grace() -> int:
    """Raises SettingError."""
    given = os.environ.get(GRACE, "")
    if given and not given.isdecimal():
        raise SettingError(f"{GRACE} is {given!r}: give a whole number of seconds, such as 300")
    return int(given or USUAL_GRACE)


def visible_to(visitor: str) -> ColumnElement[bool]:
    """Jobs of that visitor, and nobody's unless a class is there."""
    mine = jobs.c.id.in_(select(owners.c.job).where(owners.c.visitor == visitor))
    return mine if is_class() else or_(mine, ~jobs.c.id.in_(select(owners.c.job)))


def limits_of(connection: Connection) -> Limits:
    found = connection.execute(select(limits.c.name, limits.c.value)).all()
    usual = {} if is_class() else ALONE
    return Limits.read(usual | {row.name: row.value for row in found})


def check_limits(connection: Connection, visitor: str) -> None:
    """Raises SettingError where that visitor, or all from its address, have as many jobs as may be.

    Cookies cost nothing, and whoever makes them up is many visitors; an address is harder to get.
    """
    if not visitor:
        return
    most = limits_of(connection)
    there = _at_work(connection, owners.c.visitor == visitor)
    if most.jobs and there >= most.jobs:
        raise SettingError(
            f"{there} of your runs and attacks wait or are at work, and here one may have "
            f"{most.jobs}: wait for one, or stop one"
        )
    mine = select(addresses.c.address).where(addresses.c.visitor == visitor).scalar_subquery()
    others = select(addresses.c.visitor).where(addresses.c.address == mine)
    there = _at_work(connection, owners.c.visitor.in_(others)) if most.address else 0
    if most.address and there >= most.address:
        raise SettingError(
            f"{there} runs and attacks from your network address wait or are at work, and here one "
            f"address may have {most.address}: wait, or ask whoever looks after this lab for more"
        )


def _at_work(connection: Connection, whose: ColumnElement[bool]) -> int:
    """Their runs and attacks that wait or are at work."""
    query = select(func.count()).select_from(jobs.join(owners, owners.c.job == jobs.c.id))
    active = and_(whose, jobs.c.kind != "cell", jobs.c.status.in_(ACTIVE))
    return int(connection.execute(query.where(active)).scalar_one())


def set_owner(connection: Connection, job: str, visitor: str) -> None:
    """The job is that visitor's, if it is anybody's."""
    if visitor:
        connection.execute(insert(owners).values(job=job, visitor=visitor))


def heartbeat(connection: Connection, visitor: str, address: str = "") -> None:
    """One of its pages is open now.

    address: the name of the network address that it comes from
    """
    now = time.time()
    mine = visitors.c.id == visitor
    if not connection.execute(update(visitors).where(mine).values(seen=now)).rowcount:
        connection.execute(insert(visitors).values(id=visitor, seen=now))
    if address:
        connection.execute(delete(addresses).where(addresses.c.visitor == visitor))
        connection.execute(insert(addresses).values(visitor=visitor, address=address))


def present(connection: Connection) -> int:
    """How many have a page open now, as far as heartbeats tell."""
    recent = visitors.c.seen > time.time() - 2 * HEARTBEAT
    return int(connection.execute(select(func.count()).where(recent)).scalar_one())
