"""Disposal: deletes files of arrays that no row of the store refers to any more.

A picture that a visitor uploaded is personal.  It is deleted with the last attack that has it.
"""

from __future__ import annotations

import time
from collections.abc import Collection

from sqlalchemy import Connection, Engine, and_, select

from lab.storage.arrays import ArrayStore
from lab.storage.database import attack_progress, cached_shadows, jobs, records, writing

PICTURE = "picture"  # the name of an uploaded picture's array, and of its digest in an order
HOUR = 3600.0  # seconds after which a file without a row is no longer one that is being entered

uploaded = jobs.c.body[PICTURE].as_string()  # null in all orders that attack a client


def remove_unused(
    connection: Connection, arrays: ArrayStore, digests: Collection[str | None]
) -> None:
    """Delete those of the files that no row refers to.  Call it after the rows are deleted."""
    chosen = {digest for digest in digests if digest}
    for digest in chosen - _in_use(connection, chosen):
        arrays.remove(digest)


def sweep(engine: Engine, arrays: ArrayStore, age: float = HOUR) -> int:
    """Delete uploaded pictures without an attack, and files that a killed process began to write.

    age: seconds since a file was written, below which it is left alone
    Returns how many files were deleted.
    """
    before = time.time() - age
    old = arrays.small_files(PICTURE, before)
    with writing(engine) as connection:
        lost = set(old) - _in_use(connection, set(old))
        for digest in lost:
            arrays.remove(digest)
    return len(lost) + arrays.remove_unfinished(before)


def _in_use(connection: Connection, digests: set[str]) -> set[str]:
    """Those that a run, an attack or the stock of shadow models has."""
    attacks = and_(jobs.c.kind == "attack", uploaded.in_(digests))
    columns = (
        records.c.arrays,
        records.c.memory,
        attack_progress.c.arrays,
        cached_shadows.c.arrays,
    )
    queries = [select(column).where(column.in_(digests)) for column in columns]
    queries.append(select(uploaded).where(attacks))
    return {str(digest) for query in queries for digest in connection.scalars(query)}
