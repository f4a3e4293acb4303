"""Fairness: accuracy client by client, against testing each one by itself."""

from __future__ import annotations

import pytest
import torch

from lab import Experiment, figures, run
from lab.engine.data.federation import federated_dataset, own_test
from lab.engine.evaluation.fairness import by_client, deviation, told, worst_tenth
from lab.engine.evaluation.record import RoundRecord
from lab.models.metrics import evaluate, example_metrics

DIGITS = Experiment.read(
    {
        "data": {
            "source": "digits",
            "clients": 5,
            "partition": {"kind": "dirichlet", "alpha": 0.2},
        },
        "training": {"rounds": 2, "rate": 0.2},
    }
)


def test_a_client_meets_every_class_as_often_as_it_holds_it() -> None:
    """A loop over a client's own examples, each as often right as its class is."""
    moment = list(run(DIGITS))[-1]
    federation = federated_dataset(DIGITS)
    right, _ = example_metrics(
        DIGITS.architecture, moment.state.model, federation.test_inputs, federation.test_labels
    )
    for client, rate in enumerate(moment.record.fairness):
        mine = federation.labels[federation.held(client)]
        expected = [float(right[federation.test_labels == label].float().mean()) for label in mine]
        assert rate == pytest.approx(sum(expected) / len(expected), abs=1e-4)


def test_clients_that_are_alike_fare_alike() -> None:
    alike = DIGITS.changed({"data.partition": "iid"})
    rates = list(run(alike))[-1].record.fairness
    skewed = list(run(DIGITS))[-1].record.fairness
    even, uneven = deviation(rates), deviation(skewed)
    assert even is not None
    assert uneven is not None
    assert even < uneven / 3


@pytest.mark.parametrize("kind", ["feature", "concept"])
def test_where_examples_shift_every_client_is_tested_as_it_sees_them(kind: str) -> None:
    shifted = DIGITS.changed({"data.partition": kind})
    moment = list(run(shifted))[-1]
    for client, rate in enumerate(moment.record.fairness):
        inputs, labels = own_test(shifted, client)
        alone, _ = evaluate(shifted.architecture, moment.state.model, inputs, labels)
        assert rate == pytest.approx(alone, abs=1e-4)


def test_clients_of_another_cluster_mean_other_things() -> None:
    """Two clusters, one model: whoever trains more is understood, and the others are not."""
    concept = DIGITS.changed({"data.partition": "concept"})
    labels = [own_test(concept, client)[1] for client in range(5)]
    assert torch.equal(labels[0], labels[2])
    assert not bool((labels[0] == labels[1]).any())


def test_a_client_without_examples_has_no_accuracy() -> None:
    few = DIGITS.changed({"data.clients": 300, "data.partition": {"kind": "quantity", "skew": 3.0}})
    federation = federated_dataset(few)
    right = torch.ones(len(federation.test_labels), dtype=torch.bool)
    rates = by_client(few, torch.zeros(few.architecture.size), right)
    assert [rate is None for rate in rates] == [size == 0 for size in federation.sizes.tolist()]
    assert {rate for rate in rates if rate is not None} == {1.0}


def test_the_worst_tenth_by_hand() -> None:
    rates = (*(k / 100 for k in range(1, 21)), None)
    assert worst_tenth(rates) == pytest.approx(0.015)
    assert worst_tenth((0.5, 0.25)) == 0.25
    assert worst_tenth((None,)) is None
    assert deviation((0.2, 0.4, None)) == pytest.approx(0.1)
    assert deviation(()) is None


def test_the_figure_goes_from_worst_to_best() -> None:
    record = RoundRecord(
        round=1, accuracy=0.5, loss=1.0, epsilon=None, bytes_up=0, bytes_down=0,
        fairness=(0.75, None, 0.25, 0.5),
    )  # fmt: skip
    (bars,) = figures.fairness(record).data
    assert list(bars.y) == [0.25, 0.5, 0.75]
    assert list(bars.text) == ["2", "3", "0"]


def test_the_figure_sets_own_models_beside_the_common_one() -> None:
    record = RoundRecord(
        round=1, accuracy=0.5, loss=1.0, epsilon=None, bytes_up=0, bytes_down=0,
        fairness=(0.75, 0.25, 0.5), personal=(0.875, 0.5, None),
    )  # fmt: skip
    figure = figures.fairness(record)
    bars, own = figure.data
    assert list(bars.y) == [0.25, 0.5, 0.75]
    assert (list(own.x), list(own.y)) == ([1, 3], [0.5, 0.875])
    common, mine = told(record)
    assert common.startswith("The common model: clients' accuracy is 50.0% on average")
    assert mine == (
        "Own models: clients' accuracy is 68.8% on average, with a standard deviation of 18.8%, "
        "and 50.0% for the worst tenth."
    )


def test_where_there_is_no_common_model_own_ones_are_the_bars() -> None:
    rates = (0.75, 0.25)
    record = RoundRecord(
        round=1, accuracy=0.5, loss=1.0, epsilon=None, bytes_up=0, bytes_down=0,
        fairness=rates, personal=rates,
    )  # fmt: skip
    assert len(figures.fairness(record).data) == 1
    assert told(record)[0].startswith("Clients' accuracy is 50.0% on average")
    assert len(told(record)) == 1
