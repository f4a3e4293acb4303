"""Pace: wait for what another thread works out, and for no longer than one cares to."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from contextlib import suppress
from queue import Empty, Full, Queue
from threading import Event, Thread
from typing import TypeVar

Step = TypeVar("Step")
AHEAD = 2  # steps that may wait to be read
NAP = 0.05  # seconds between two looks at whether anybody still reads


def paced(steps: Iterator[Step], seconds: float) -> Generator[Step | None, None, None]:
    """Each of the steps, and None whenever none has come for so many seconds.

    They are taken in a thread of their own.  Whoever stops reading waits for nothing: the thread
    ends by itself, after the step that it is at.  What goes wrong there is raised here.
    """
    found: Queue[tuple[Step | None, BaseException | None, bool]] = Queue(AHEAD)
    left = Event()

    def hand_over(step: Step | None, error: BaseException | None = None, last: bool = True) -> None:
        while not left.is_set():
            with suppress(Full):
                return found.put((step, error, last), timeout=NAP)
        return None

    def take() -> None:
        try:
            for step in steps:
                hand_over(step, last=False)
                if left.is_set():
                    return
        except BaseException as error:
            hand_over(None, error)
        else:
            hand_over(None)

    Thread(target=take, daemon=True).start()
    try:
        while True:
            try:
                step, error, last = found.get(timeout=seconds)
            except Empty:
                yield None
                continue
            if error is not None:
                raise error
            if last:
                return
            yield step
    finally:
        left.set()
