"""Clock: the seconds that a thread has worked, for whatever has a budget of them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import local
from time import monotonic


class _Still(local):
    seconds = 0.0  # of each thread by itself


_still = _Still()


def thread_seconds() -> float:
    """Seconds since some time, but for those in which this thread stood still."""
    return monotonic() - _still.seconds


@contextmanager
def not_counted() -> Iterator[None]:
    """What this thread waits for, or does for others, is not its own time."""
    began = thread_seconds()
    try:
        yield
    finally:
        _still.seconds += thread_seconds() - began
