"""Counting in child processes: who answers, and what happens when that goes wrong.

Finding C4 of the review of soundness: a link could keep the page process busy, or kill it.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import numpy as np
import pytest

from lab import ROOT
from lab.common.settings import SettingError
from lab.privacy.accounting import accountants, in_process
from lab.privacy.accounting.accountants import (
    GaussianReleases,
    Seam,
    calibrate_noise,
    compose_epsilon,
    count_elsewhere,
    privacy_profile,
)
from lab.privacy.accounting.child_process import START, Child, Children
from lab.storage.store import Store
from tests.support.app_pages import TINY, opened, trained, words

_NUMBERS = count()
# About two seconds.
HUGE = (GaussianReleases(1e-4, 1.0, 100_000), 1.0, 1e-5)


def fresh() -> tuple[GaussianReleases, ...]:
    """What nobody has asked for yet, so that no answer is remembered."""
    return (GaussianReleases(0.1, 1.0 + next(_NUMBERS) / 100, 10),)


@pytest.fixture
def children() -> Iterator[Children]:
    found = Children(most=1)
    yield found
    count_elsewhere(None)
    found.close()


def test_another_process_answers_and_says_the_same(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, plan = fresh(), GaussianReleases(0.05, 1.0, 10)
    expected = in_process.epsilon_of(asked, 1e-5, "pld")
    profile = in_process.deltas_of(asked, np.array([0.0, 1.0]))
    noise = calibrate_noise(plan, 4.5, 1e-5, before=asked)
    calibrate_noise.cache_clear()
    count_elsewhere(children)
    for name in ("epsilon_of", "deltas_of", "noise_for"):  # in this process nobody can count
        monkeypatch.delattr(accountants, name)
    assert compose_epsilon(asked, 1e-5) == expected
    assert privacy_profile(asked, np.array([0.0, 1.0])) == pytest.approx(profile, rel=1e-12)
    assert calibrate_noise(plan, 4.5, 1e-5, before=asked) == noise
    (process,) = children.processes()
    assert process != os.getpid()


def test_what_is_known_exactly_or_was_asked_before_needs_no_process(children: Children) -> None:
    asked = fresh()
    expected = compose_epsilon(asked, 1e-5)
    count_elsewhere(children)
    assert compose_epsilon(asked, 1e-5) == expected
    assert compose_epsilon((GaussianReleases(1.0, 1.7, 10),), 1e-5) > 0
    assert compose_epsilon((GaussianReleases(0.1, 0.01, 10),), 1e-5) > 0
    assert calibrate_noise(GaussianReleases(1.0, 1.0, 10), 1.7, 1e-5) > 0
    assert children.processes() == []


def test_a_process_is_light() -> None:
    """It does without PyTorch, which takes seconds to load."""
    script = START.replace("main(int(sys.argv[2]))", "print('torch' in sys.modules)")
    folder = str(ROOT / "lab")
    told = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, check=True)
    assert told.stdout.split() == [b"False"]


def test_what_takes_too_long_is_refused_and_the_process_is_replaced(children: Children) -> None:
    count_elsewhere(children)
    expected = compose_epsilon(fresh(), 1e-5)
    (first,) = children.processes()
    (child,) = children.children
    child.seconds = 0.2
    begun = time.monotonic()
    with pytest.raises(SettingError, match=r"more than 0.2 seconds for these settings: give fewer"):
        calibrate_noise(*HUGE)
    assert time.monotonic() - begun < 5.0
    child.seconds = 20.0
    assert compose_epsilon(fresh(), 1e-5) < expected
    assert children.processes() != [first]
    with pytest.raises(ProcessLookupError):
        os.kill(first, 0)


def test_what_needs_too_much_memory_is_refused() -> None:
    children = Children(most=1, memory=200 << 20)
    count_elsewhere(children)
    try:
        assert compose_epsilon(fresh(), 1e-5) > 0
        with pytest.raises(SettingError, match="needs too much memory for these settings: give"):
            compose_epsilon((GaussianReleases(0.5, 3.0, 10**7),), 1e-5)
        assert compose_epsilon(fresh(), 1e-5) > 0
    finally:
        count_elsewhere(None)
        children.close()


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("nonsense", "answered 'nonsense"),
        ("[1, 2]", r"answered '\[1, 2\]"),
        ('{"answer": NaN}', "answered nan"),
        ('{"answer": Infinity}', "answered inf"),
        ('{"answer": "7"}', "answered '7'"),
        ('{"refused": "give more"}', "^give more$"),
        (None, "process has ended: try again"),
    ],
)
def test_what_a_process_says_is_checked(
    said: str | None, told: str, children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "input()" if said is None else f"input(); print({said!r}, flush=True); input()"
    monkeypatch.setattr(Child, "command", lambda _: [sys.executable, "-c", script])
    count_elsewhere(children)
    with pytest.raises(SettingError, match=told):
        compose_epsilon(fresh(), 1e-5)
    monkeypatch.undo()
    children.close()
    assert compose_epsilon(fresh(), 1e-5) > 0


def test_as_many_deltas_come_back_as_were_asked_for(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "input(); print('{\"answer\": [0.5]}', flush=True)"
    monkeypatch.setattr(Child, "command", lambda _: [sys.executable, "-c", script])
    count_elsewhere(children)
    with pytest.raises(SettingError, match=r"answered \[0.5\], and that is no number"):
        privacy_profile(fresh(), np.array([0.0, 1.0]))


def test_refusals_cross_in_their_own_words(children: Children) -> None:
    count_elsewhere(children)
    before = (GaussianReleases(0.1, 1.0, 40),)
    with pytest.raises(SettingError, match=r"^privacy.epsilon is 0.5 and the rounds before have"):
        calibrate_noise(GaussianReleases(0.1, 1.0, 3), 0.5, 1e-5, before=before)


def test_two_threads_get_their_own_answers_from_two_processes() -> None:
    asked = [fresh() for _ in range(12)]
    expected = [in_process.epsilon_of(one, 1e-5, "pld") for one in asked]
    children = Children(most=2)
    count_elsewhere(children)
    try:
        with ThreadPoolExecutor(4) as threads:
            found = list(threads.map(lambda one: compose_epsilon(one, 1e-5), asked))
        assert found == expected
        assert len(set(children.processes())) == 2
    finally:
        count_elsewhere(None)
        children.close()
    assert children.processes() == []


def test_a_question_waits_for_a_process_that_is_free_but_not_for_ever(
    children: Children, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lab.privacy.accounting.child_process.PATIENCE", 0.2)
    count_elsewhere(children)
    compose_epsilon(fresh(), 1e-5)
    with ThreadPoolExecutor(1) as threads:
        long = threads.submit(calibrate_noise, *HUGE)
        while children.free.qsize():
            time.sleep(0.01)
        with pytest.raises(SettingError, match="busy with other questions: try again"):
            compose_epsilon(fresh(), 1e-5)
        assert long.result() == pytest.approx(0.5587, rel=1e-3)


class Refusing:
    """Stands for children that are too slow for anything."""

    def __init__(self) -> None:
        self.asked = 0

    def epsilon_of(self, *question: object) -> float:
        return self._refused()

    def noise_for(self, *question: object) -> float:
        return self._refused()

    def deltas_of(self, *question: object) -> tuple[float, ...]:
        return (self._refused(),)

    def _refused(self) -> float:
        self.asked += 1
        raise SettingError("the accountant needs more than 20 seconds for these settings: wait")


SLOW = {"privacy.kind": "client", "training.clients_per_round": 1, "privacy.delta": 1e-3}


@pytest.fixture
def refusing() -> Iterator[Refusing]:
    found = Refusing()
    yield found
    count_elsewhere(None)


@pytest.mark.parametrize("page", ["live", "budget"])
def test_a_page_says_in_words_what_the_accountant_refuses(
    page: str, store: Store, refusing: Refusing
) -> None:
    private = TINY.changed(SLOW | {"privacy.noise": 1.0 + next(_NUMBERS) / 100})
    run = trained(store, private)
    compose_epsilon.cache_clear()
    count_elsewhere(refusing)
    app = opened(page, run=run)
    assert "The accountant needs more than 20 seconds" in words(app)
    assert refusing.asked


def test_a_draft_from_a_link_can_be_changed_where_the_accountant_refuses_it(
    refusing: Refusing,
) -> None:
    count_elsewhere(refusing)
    noise = f"{1.0 + next(_NUMBERS) / 100}"
    pairs = {"privacy.kind": "client", "training.clients_per_round": "1", "privacy.noise": noise}
    app = opened("live", **pairs)
    assert "The accountant needs more than 20 seconds" in words(app)
    assert "Start" in {one.label for one in app.button}


def test_the_server_counts_in_children() -> None:
    try:
        importlib.reload(importlib.import_module("lab.web.server"))
        assert isinstance(Seam.elsewhere, Children)
        assert Seam.elsewhere.processes() == []  # until somebody asks
    finally:
        count_elsewhere(None)
