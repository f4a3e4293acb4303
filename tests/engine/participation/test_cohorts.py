"""Cohorts: who is asked, among those who can be."""

from __future__ import annotations

from collections import Counter

import pytest

from lab import Experiment, run
from lab.common.settings import SettingError
from lab.engine.participation.async_schedule import available
from lab.engine.participation.cohort_sampling import select_cohort

NOW = Experiment().changed({"data.source": "digits", "data.clients": 40, "data.examples": 400})


def test_only_clients_that_are_available_are_asked() -> None:
    now = NOW.changed({"network.availability": 0.3, "training.clients_per_round": 10})
    sizes = []
    for round in range(1, 60):
        there = set(available(now, round).nonzero()[0].tolist())
        found = select_cohort(now, round)
        assert set(found) <= there
        assert len(found) == min(10, len(there))
        sizes.append(len(there))
    assert 10 < sum(sizes) / len(sizes) < 14
    assert min(sizes) < 10, "otherwise nobody was missed"


def test_everybody_has_the_same_chance() -> None:
    now = NOW.changed({"network.availability": 0.5, "training.clients_per_round": 8})
    turns = Counter(client for round in range(1, 501) for client in select_cohort(now, round))
    assert min(turns.values()) > 65
    assert max(turns.values()) < 140


def test_availability_leaves_the_order_of_the_draw() -> None:
    """Whoever is there is asked in the order in which all would be."""
    some = NOW.changed({"network.availability": 0.6})
    assert select_cohort(NOW, 3) == tuple(range(40))
    assert select_cohort(some, 3) == tuple(available(some, 3).nonzero()[0].tolist())


def test_a_round_in_which_nobody_is_available_changes_nothing() -> None:
    now = NOW.changed({"network.availability": 0.05, "data.clients": 3, "training.rounds": 12})
    moments = list(run(now))
    empty = [place for place in range(1, 12) if not moments[place].record.clients]
    assert empty
    for place in empty:
        assert moments[place].record.accuracy == moments[place - 1].record.accuracy


@pytest.mark.parametrize("kind", ["fedbuff", "fedasync", "ditto", "ifca", "fedper", "local-only"])
def test_every_kind_of_algorithm_outlives_an_empty_round(kind: str) -> None:
    now = NOW.changed({"network.availability": 0.05, "data.clients": 3, "training.rounds": 8})
    assert len(list(run(now.changed({"training.algorithm": kind})))) == 8


def test_availability_would_break_the_sampling_that_privacy_counts_on() -> None:
    with pytest.raises(SettingError, match=r"network.availability is 0.5 with privacy.kind client"):
        NOW.changed({"network.availability": 0.5, "privacy.kind": "client"})
