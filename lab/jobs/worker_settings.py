"""What the environment says of workers."""

from __future__ import annotations

import os

from lab.common.settings import SettingError

WORKERS = "LEAKLAB_WORKERS"  # the environment variable with the number of worker processes


IDLE = "LEAKLAB_IDLE"  # the one with the seconds until a worker without work leaves


NAP = 0.1  # seconds between two looks at the queue


def most_workers() -> int:
    """How many worker processes there may be, one a core unless the environment says otherwise."""
    return whole_number(WORKERS, os.cpu_count() or 1)


def longest_idle() -> int:
    """Seconds until a worker without work leaves."""
    return whole_number(IDLE, 600)


def whole_number(name: str, usual: int) -> int:
    """What an environment variable says.  Raises SettingError."""
    given = os.environ.get(name, "")
    if given and not given.isdecimal():
        raise SettingError(f"{name} is {given!r}: give a whole number, such as {usual}")
    return int(given or usual)
