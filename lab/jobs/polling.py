"""Pace: wait for what another thread works out, and for no longer than one cares to."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from queue import Empty, Queue
from threading import Event, Thread
from typing import TypeVar

from lab.common.thread_time import not_counted

Step = TypeVar("Step")


def poll(steps: Iterator[Step], seconds: float) -> Generator[Step | None, None, None]:
    """Each of the steps, and None whenever none has come for so many seconds.

    They are taken in a thread of their own, which is one step ahead at most: as long as nobody
    reads it stands still.  Whoever stops reading for good waits for nothing: the thread ends by
    itself, after the step that it is at.  What goes wrong there is raised here.
    """
    found: Queue[tuple[Step | None, BaseException | None, bool]] = Queue()
    read, left = Event(), Event()

    def take() -> None:
        try:
            for step in steps:
                with not_counted():
                    read.wait()
                if left.is_set():
                    return
                found.put((step, None, False))
        except BaseException as error:
            found.put((None, error, True))
        else:
            found.put((None, None, True))

    Thread(target=take, daemon=True).start()
    try:
        while True:
            read.set()
            try:
                step, error, last = found.get(timeout=seconds)
            except Empty:
                step, error, last = None, None, False
            read.clear()
            if error is not None:
                raise error
            if last:
                return
            yield step
    finally:
        left.set()
        read.set()
