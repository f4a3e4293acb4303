"""Portraits: what every client holds, and how far clients lie apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab.engine.data.federation import federated_dataset
from lab.engine.data.malicious_clients import malicious_clients
from lab.engine.data.summary import summarise
from lab.experiment.experiment import Experiment
from tests.support.data import examples_of, of_digits, with_
from tests.support.data import experiment as experiment
from tests.support.data import no_data_of_the_user as no_data_of_the_user


def skew_by_hand(counts: list[list[int]]) -> float:
    """Half the summed distance of each client's mix from everybody's, averaged over clients."""
    total = sum(map(sum, counts))
    whole = [sum(column) / total for column in zip(*counts, strict=True)]
    gaps = [
        sum(abs(count / sum(row) - part) for count, part in zip(row, whole, strict=True)) / 2
        for row in counts
    ]
    return sum(gaps) / len(gaps)


def test_the_portrait_of_four_hospitals() -> None:
    drawn = summarise(with_(data__source="heart", data__partition__kind="natural", data__clients=4))
    examples = examples_of("heart")
    counts = [
        [int(((examples.groups == owner) & (examples.labels == ill)).sum()) for ill in (0, 1)]
        for owner in range(4)
    ]
    assert drawn.classes == ("healthy", "ill")
    assert drawn.counts == tuple(map(tuple, counts))
    assert drawn.skew == pytest.approx(skew_by_hand(counts))
    assert drawn.malicious == ()


def test_one_class_each_is_the_greatest_skew_there_is() -> None:
    """Ten clients of a class each: a client differs from everybody in nine tenths."""
    shards = {"data__partition__kind": "shards", "data__partition__shards": 1}
    drawn = summarise(with_(data__source="fashion-mnist", data__clients=10, **shards))
    assert sorted(max(row) for row in drawn.counts) == [1000] * 10
    assert drawn.skew == pytest.approx(0.9)


@given(seed=st.integers(0, 10**6))
def test_the_smaller_alpha_the_more_clients_differ(seed: int) -> None:
    skews = [
        summarise(
            with_(
                seed=seed,
                data__clients=10,
                data__partition__kind="dirichlet",
                data__partition__alpha=alpha,
            )
        ).skew
        for alpha in (100.0, 1.0, 0.01)
    ]
    assert skews[0] + 0.1 < skews[1]
    assert skews[1] + 0.2 < skews[2]


def test_the_portrait_shows_all_that_is_held(experiment: Experiment) -> None:
    attacked = experiment.changed({"adversary.count": 2})
    drawn = summarise(attacked)
    assert [sum(row) for row in drawn.counts] == federated_dataset(attacked).sizes.tolist()
    assert drawn.malicious == malicious_clients(attacked)
    assert 0 <= drawn.skew <= 1
    assert drawn.skew == pytest.approx(skew_by_hand([list(row) for row in drawn.counts]), abs=1e-6)


def test_a_portrait_counts_what_every_client_holds() -> None:
    experiment = of_digits(data__partition={"kind": "dirichlet", "alpha": 0.3}, adversary__count=2)
    found, federation = summarise(experiment), federated_dataset(experiment)
    assert found.classes == tuple("0123456789")
    assert found.malicious == malicious_clients(experiment)
    for client, row in enumerate(found.counts):
        mine = federation.labels[federation.held(client)].tolist()
        assert list(row) == [mine.count(label) for label in range(10)]
    assert np.sum(found.counts) == 1_438


def test_skew_is_how_far_clients_lie_from_the_whole_on_average() -> None:
    experiment = of_digits(data__partition={"kind": "dirichlet", "alpha": 0.3})
    counts = np.array(summarise(experiment).counts)
    whole = counts.sum(axis=0) / counts.sum()
    distances = [np.maximum(row / row.sum() - whole, 0).sum() for row in counts]
    assert summarise(experiment).skew == pytest.approx(np.mean(distances), abs=1e-6)


def test_alike_clients_have_hardly_any_skew_and_one_class_each_nearly_all() -> None:
    alike = summarise(of_digits(data__clients=3)).skew
    apart = summarise(
        of_digits(data__clients=10, data__partition={"kind": "shards", "shards": 1})
    ).skew
    assert alike < 0.1
    assert 0.75 < apart < 0.91  # nine tenths of all labels are another class
