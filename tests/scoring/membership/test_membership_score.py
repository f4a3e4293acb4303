"""Membership scores: rates and intervals by hand, by brute force, and by repeating the draw."""

from __future__ import annotations

from fractions import Fraction
from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score

from lab.scoring.membership.membership_score import GRID, rate
from lab.scoring.shared.roc_curve import auc, true_positives
from tests.support.membership_scores import SEEDS, drawn, exposed

FEW_VALUES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=25)  # so most are tied
ANY_VALUES = st.lists(st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf]), min_size=1, max_size=25)
RATES = st.builds(Fraction, st.integers(0, 100), st.just(100))


# --- area and rates, by hand --------------------------------------------------------------------


def test_the_area_is_the_share_of_pairs_won_and_a_tie_is_half_a_win() -> None:
    # Pairs: 3 > 1, 3 > 2, 2 > 1, 2 = 2.
    assert auc(np.array([3.0, 2.0]), np.array([1.0, 2.0])) == 3.5 / 4


def test_a_perfect_attack_has_area_one_and_the_opposite_one_zero() -> None:
    low, high = np.array([1.0, 2.0]), np.array([3.0, 4.0, 5.0])
    assert (auc(high, low), auc(low, high)) == (1.0, 0.0)


def test_the_threshold_is_the_first_score_that_would_be_one_too_many() -> None:
    members, others = np.array([9.0, 5.0, 4.0, 1.0]), np.array([8.0, 5.0, 3.0, 2.0])
    rates = np.array([0.0, 0.25, 0.49, 0.5, 0.75, 1.0])
    # None of the others may pass: above 8.  One: above 5, where a member ties.  Two: above 3.
    expected = [0.25, 0.25, 0.25, 0.75, 0.75, 1.0]
    assert true_positives(members, others, rates).tolist() == expected


def test_a_share_of_the_others_is_not_rounded_down_by_floats() -> None:
    """0.29 * 100 is 28.999999999999996, and 29 of a hundred may pass."""
    members, others = np.array([70.5, 71.5]), np.arange(100.0)
    assert true_positives(members, others, np.array([0.28, 0.29])).tolist() == [0.5, 1.0]


def test_one_score_for_all_says_nothing() -> None:
    same = np.full(50, 0.3)
    assert auc(same, same) == 0.5
    rates = np.array([0.0, 0.01, 0.5, 0.99, 1.0])
    assert true_positives(same, same, rates).tolist() == [0.0, 0.0, 0.0, 0.0, 1.0]


# --- area and rates, against oracles ------------------------------------------------------------


@given(members=FEW_VALUES, others=FEW_VALUES)
def test_the_area_is_scikit_learns(members: list[float], others: list[float]) -> None:
    truth = [1] * len(members) + [0] * len(others)
    expected = roc_auc_score(truth, members + others)
    assert auc(np.array(members), np.array(others)) == pytest.approx(expected, abs=1e-12)


@given(members=ANY_VALUES, others=ANY_VALUES)
def test_the_area_counts_pairs_even_of_infinite_scores(
    members: list[float], others: list[float]
) -> None:
    wins = sum((mine > yours) + (mine == yours) / 2 for mine in members for yours in others)
    expected = wins / (len(members) * len(others))
    assert auc(np.array(members), np.array(others)) == pytest.approx(expected, abs=1e-12)


@given(members=ANY_VALUES | FEW_VALUES, others=ANY_VALUES | FEW_VALUES, asked=RATES)
def test_rates_are_those_of_the_best_threshold_there_is(
    members: list[float], others: list[float], asked: Fraction
) -> None:
    allowed = int(asked * len(others))
    within = [
        sum(mine > threshold for mine in members) / len(members)
        for threshold in {-inf, *members, *others}
        if sum(yours > threshold for yours in others) <= allowed
    ]
    found = true_positives(np.array(members), np.array(others), np.array([float(asked)]))
    assert found[0] == max(within)


@given(seed=SEEDS)
def test_the_curve_rises_and_ends_at_one(seed: int) -> None:
    curve = exposed(*drawn(seed, 40, 60, shift=0.5)).curve
    assert list(curve.true_positives) == sorted(curve.true_positives)
    assert curve.true_positives[-1] == 1.0
    assert curve.false_positives == tuple(GRID)
    assert all(low <= high for low, high in zip(curve.low, curve.high, strict=True))


# --- a rate and its interval --------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "needed"), [(0.01, 1_000), (0.001, 10_000)])
def test_a_rate_needs_ten_false_positives_to_rest_on(asked: float, needed: int) -> None:
    members, others = drawn(0, 50, needed)
    enough, short = rate(members, others, asked), rate(members, others[:-1], asked)
    assert enough.value is not None
    assert enough.note == ""
    assert (short.value, short.low, short.high) == (None, None, None)
    assert f"{needed - 1:,} of {needed:,}" in short.sentence()


def test_nobody_and_everybody_have_the_intervals_of_the_textbook() -> None:
    members, others = np.zeros(20), np.linspace(1, 2, 1_000)
    none, all_ = rate(members, others, 0.01), rate(members + 3, others, 0.01)
    # (1 - high)^20 = 0.025 = low^20
    assert none.value == none.low == 0.0
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 20))
    assert all_.value == all_.high == 1.0
    assert all_.low == pytest.approx(0.025 ** (1 / 20))


@given(found=st.integers(1, 59))
def test_the_interval_of_a_rate_is_clopper_and_pearsons(found: int) -> None:
    members = np.where(np.arange(60) < found, 3.0, 0.0)
    told = rate(members, np.linspace(1, 2, 1_000), 0.01)
    assert told.value == pytest.approx(found / 60)
    assert told.low == pytest.approx(beta.ppf(0.025, found, 61 - found))
    assert told.high == pytest.approx(beta.ppf(0.975, found + 1, 60 - found))


def test_a_rate_is_told_with_its_interval() -> None:
    told = rate(np.r_[np.full(5, 3.0), np.zeros(5)], np.linspace(1, 2, 1_000), 0.01)
    assert told.sentence() == "TPR at 1.0% FPR: 50.00% (95 % 18.71% to 81.29%)"


@pytest.mark.parametrize(
    ("seeds", "least"), [(10, 7), pytest.param(40, 34, marks=pytest.mark.deep)]
)
def test_the_interval_of_a_rate_covers_the_true_rate_nearly_always(seeds: int, least: int) -> None:
    true, covered = norm.sf(norm.isf(0.01) - 1.0), 0
    for seed in range(seeds):
        (told, _) = exposed(*drawn(seed, 1_000, 1_000, shift=1.0)).rates
        assert told.low is not None
        assert told.high is not None
        covered += told.low <= true <= told.high
    assert covered >= least  # of a true 95 %, fewer than 34 of 40 happen once in 290
