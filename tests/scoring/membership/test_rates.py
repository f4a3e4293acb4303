"""Balanced accuracy and what an accusation is worth: by hand, against an oracle, by repetition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm
from sklearn.metrics import balanced_accuracy_score

from lab.common.random_streams import random_stream
from lab.scoring.membership.rates import FEWEST, RateAtFpr, balanced
from tests.support.membership_scores import drawn


def scored(seed: int, members: int, others: int, shift: float) -> tuple[np.ndarray, np.ndarray]:
    mine, yours = drawn(seed, members, others, shift)
    return np.concatenate([mine, yours]), np.arange(members + others) < members


def test_scores_that_part_the_two_have_balanced_accuracy_one() -> None:
    member = np.arange(200) < 80
    found = balanced(np.where(member, 3.0, 1.0), member)
    assert found is not None
    assert (found.value, found.high, found.threshold) == (1.0, 1.0, 2.0)
    # Of 40 members and 60 others not one is wrong: distances to the exact limits, by squares.
    wrong = [1 - 0.025 ** (1 / side) for side in (40, 60)]
    assert found.low == pytest.approx(1 - np.hypot(*wrong) / 2)


def test_it_is_scikit_learns_on_the_half_that_did_not_choose_the_threshold() -> None:
    scores, member = scored(0, 150, 90, 1.0)
    found = balanced(scores, member)
    assert found is not None
    order = random_stream(0, "halves").permutation(240)
    mine, yours = order[member[order]], order[~member[order]]
    chosen, judged = np.r_[mine[:75], yours[:45]], np.r_[mine[75:], yours[45:]]
    told = balanced_accuracy_score(member[judged], scores[judged] > found.threshold)
    assert found.value == pytest.approx(told)
    best = balanced_accuracy_score(member[chosen], scores[chosen] > found.threshold)
    assert best == pytest.approx(flattering(scores[chosen], member[chosen]))


def flattering(scores: np.ndarray, member: np.ndarray) -> float:
    """What the best threshold on the same scores reaches."""
    above = scores > scores[:, None]  # (thresholds, candidates)
    return float((above[:, member].mean(axis=1) + 1 - above[:, ~member].mean(axis=1)).max() / 2)


def test_the_best_threshold_on_the_same_scores_would_flatter() -> None:
    cases = [scored(seed, 60, 60, 0.0) for seed in range(40)]
    found = [balanced(*case) for case in cases]
    judged = [each.value for each in found if each]
    assert np.mean(judged) == pytest.approx(0.5, abs=0.03)  # 0.065 / sqrt 40 = 0.010
    assert np.mean([flattering(*case) for case in cases]) > 0.54


def test_the_interval_covers_the_truth_nearly_always() -> None:
    covered = 0
    for seed in range(100):
        scores, member = scored(seed, 200, 100, 1.0)
        found = balanced(scores, member)
        assert found is not None
        true = (norm.sf(found.threshold - 1) + norm.cdf(found.threshold)) / 2
        covered += found.low <= true <= found.high
    assert covered >= 88  # of a true 95 %, fewer happen twice in 1,000


def test_too_few_to_choose_and_to_judge_say_nothing() -> None:
    assert balanced(*scored(0, 2 * FEWEST - 1, 100, 1.0)) is None
    assert balanced(*scored(0, 100, 2 * FEWEST - 1, 1.0)) is None
    assert balanced(*scored(0, 2 * FEWEST, 2 * FEWEST, 1.0)) is not None


def test_an_accusation_is_worth_less_the_rarer_members_are() -> None:
    told = RateAtFpr(false_positives=0.01, value=0.2, low=0.1, high=0.4)
    # Of 1,000 candidates 100 are members: 20 of them are accused, and 9 others.
    assert told.believed(0.1) == pytest.approx((20 / 29, 10 / 19, 40 / 49))
    half = told.believed(0.5)
    assert half is not None
    assert half[0] == pytest.approx(0.2 / 0.21)


@given(st.floats(0.001, 0.5), st.floats(0.02, 1.0))
def test_it_is_bayes_rule(prior: float, value: float) -> None:
    told = RateAtFpr(false_positives=0.01, value=value, low=value / 2, high=1.0).believed(prior)
    assert told is not None
    assert told[1] <= told[0] <= told[2]
    odds = prior / (1 - prior) * value / 0.01
    assert told[0] == pytest.approx(odds / (1 + odds))


def test_without_a_rate_nothing_is_believed() -> None:
    assert RateAtFpr(false_positives=0.01, note="too few").believed(0.5) is None
