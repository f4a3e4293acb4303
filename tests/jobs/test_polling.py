"""Pace: whoever waits is told so, and whoever leaves waits for nobody."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from threading import Event, active_count

import pytest

from lab.jobs.polling import poll


def test_steps_come_in_order_and_all_of_them() -> None:
    assert [step for step in poll(iter(range(50)), 5.0) if step is not None] == list(range(50))


def test_nothing_for_so_long_is_told() -> None:
    go = Event()

    def slow() -> Iterator[int]:
        go.wait(30)
        yield 1

    with closing(poll(slow(), 0.01)) as steps:
        assert next(steps) is None
        assert next(steps) is None
        go.set()
        assert next(step for step in steps if step is not None) == 1


def test_an_error_over_there_is_raised_here() -> None:
    def broken() -> Iterator[int]:
        yield 1
        raise LookupError("over there")

    steps = poll(broken(), 5.0)
    assert next(steps) == 1
    with pytest.raises(LookupError, match="over there"):
        next(steps)


def test_whoever_leaves_waits_for_nothing_and_the_thread_ends_by_itself() -> None:
    go, before = Event(), active_count()

    def stuck() -> Iterator[int]:
        yield 1
        go.wait(30)
        yield 2
        raise AssertionError("nobody reads, so nobody asks for a third")

    steps = poll(stuck(), 0.05)
    assert next(steps) == 1
    began = time.monotonic()
    steps.close()
    assert time.monotonic() - began < 1
    go.set()
    end = time.monotonic() + 30
    while active_count() > before:
        assert time.monotonic() < end
        time.sleep(0.01)
