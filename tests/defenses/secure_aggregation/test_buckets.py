"""Buckets: a few sums in place of one, so that robust rules have something to choose between."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
import torch

from defenses.secure_aggregation import Masked
from lab import Experiment, run
from tests.defenses.secure_aggregation.test_channel import cohort_of, rows_of

POISONED = Experiment().changed(
    {
        "data.source": "digits",
        "data.clients": 20,
        "model.kind": "logistic",
        "training.rounds": 6,
        "training.rate": 0.5,
        "adversary.count": 1,
        "adversary.attack.kind": "sign-flip",
        "adversary.attack.scale": 20.0,
        "secure_aggregation.enabled": True,
    }
)


@pytest.mark.parametrize("lost", [[], [2, 7]])
def test_each_row_is_the_mean_of_its_bucket(lost: list[int]) -> None:
    rows, cohort = rows_of(0, 12), cohort_of([1.0] * 12, lost)
    delivery = Masked(buckets=3, threshold=0.51)(rows, cohort, torch.zeros(50))
    assert len(delivery.rows) == len(delivery.senders) == 3
    seen = Counter(client for senders in delivery.senders for client in senders)
    assert seen == {client: 1 for client in cohort.clients if client - 10 not in lost}
    for row, senders, weight in zip(delivery.rows, delivery.senders, delivery.weights, strict=True):
        assert torch.allclose(row, rows[[client - 10 for client in senders]].mean(dim=0), atol=1e-6)
        assert weight == len(senders)
    whole = delivery.weights @ delivery.rows / delivery.weights.sum()
    assert torch.allclose(whole, rows[~cohort.lost].mean(dim=0), atol=1e-6)
    assert delivery.arrived.tolist() == (~cohort.lost).tolist()
    assert delivery.masked is not None
    assert len(delivery.masked) == 12 - len(lost)


def test_a_bucket_that_is_broken_off_leaves_the_others_alone() -> None:
    rows = rows_of(1, 9)
    found = [
        Masked(buckets=3, threshold=1.0)(rows, cohort_of([1.0] * 9, [gone]), torch.zeros(50))
        for gone in range(9)
    ]
    for gone, delivery in enumerate(found):
        assert not delivery.aborted
        assert len(delivery.rows) == 2
        assert int(delivery.arrived.sum()) == 6
        assert "aborted" in delivery.note
        assert all(gone + 10 not in senders for senders in delivery.senders)
    everybody = Masked(buckets=3, threshold=1.0)(
        rows, cohort_of([1.0] * 9, list(range(9))), torch.zeros(50)
    )
    assert everybody.aborted


def test_buckets_are_dealt_anew_every_round() -> None:
    rounds = [
        {frozenset(senders) for senders in moment.transcript.delivery.senders}
        for moment in run(POISONED.changed({"secure_aggregation.buckets": 5}))
    ]
    assert all(len(groups) == 5 for groups in rounds)
    assert all(one != other for one, other in pairwise(rounds))


def test_the_median_of_sums_survives_an_attacker_that_the_mean_does_not() -> None:
    fooled = [moment.record.accuracy for moment in run(POISONED)][-1]
    robust = POISONED.changed({"secure_aggregation.buckets": 6, "aggregation.rule.kind": "median"})
    held = [moment.record.accuracy for moment in run(robust)][-1]
    assert fooled < 0.5 < 0.75 < held


def test_buckets_change_nothing_of_a_mean() -> None:
    plain = POISONED.changed({"adversary.count": 0})
    one, other = (
        [moment.state.model for moment in run(each)][-1]
        for each in (plain, plain.changed({"secure_aggregation.buckets": 4}))
    )
    assert torch.allclose(one, other, atol=1e-4)


def test_every_bucket_carries_all_of_the_noise() -> None:
    """So that the server, which sees each of them, learns no more than the guarantee says."""
    rows, cohort = torch.zeros(12, 4000), cohort_of([1.0] * 12)
    channel = Masked(buckets=3, deviation=0.5, bound=1.0, longest=1.0, threshold=0.75)
    delivery = channel(rows, cohort, torch.zeros(4000))
    for row, weight in zip(delivery.rows, delivery.weights, strict=True):
        # Four clients, of whom three would be enough.
        assert float((row * weight).std()) == pytest.approx(0.5 * (4 / 3) ** 0.5, rel=0.05)
