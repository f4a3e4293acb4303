"""Bounds on epsilon: by hand, as promised for every method, and on mechanisms that are known."""

from __future__ import annotations

from math import comb, inf, log, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest, norm

from lab.common.settings import SettingError
from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds import (
    FAMILY,
    GAUSSIAN,
    INDEPENDENT,
    METHODS,
    NOTHING,
    EpsilonBound,
    generic,
    plug_in,
    steinke,
    total_errors,
)
from lab.privacy.audit_bounds.clopper_pearson import upper
from lab.privacy.audit_bounds.f_dp import slack
from lab.privacy.audit_bounds.guesses import Guesses, guesses
from lab.privacy.audit_bounds.held_out import FEW, SOME, counts, parted
from lab.privacy.audit_bounds.scaled_mechanism import of_gaussian
from lab.privacy.audit_bounds.steinke import chance
from tests.support.canary_scores import DELTA, gaussian, laplace

CLAIMS = {"everybody": (), "sampled": (GaussianReleases(0.2, 1.5, 10),)}
EVERY = pytest.mark.parametrize("name", METHODS)
RUNS, MOST = 100, 12  # of which one in a thousand series of exact 95 % bounds has more
PREMISES = dict.fromkeys(FAMILY, GAUSSIAN) | {"generic": INDEPENDENT, "steinke": NOTHING}


# --- Clopper and Pearson, by hand and against an oracle -----------------------------------------


def test_nothing_found_leaves_the_chance_whose_absence_is_just_doubted() -> None:
    # (1 - p)^10 = 0.05
    assert upper(np.array([0]), 10, 0.05) == pytest.approx([1 - 0.05**0.1])


def test_one_of_two_by_hand() -> None:
    # 1 - p^2 = 0.05: all but the case of two.
    assert upper(np.array([1]), 2, 0.05) == pytest.approx([0.95**0.5])


def test_where_all_were_found_anything_is_possible() -> None:
    assert upper(np.array([7]), 7, 0.05) == [1.0]


@given(tries=st.integers(1, 60), share=st.floats(0, 1))
def test_the_upper_end_is_scipys(tries: int, share: float) -> None:
    found = round(share * tries)
    expected = binomtest(found, tries).proportion_ci(0.9, "exact").high  # 5 % on either side
    assert upper(np.array([found]), tries, 0.05)[0] == pytest.approx(expected)


# --- counts and guesses, by hand ----------------------------------------------------------------


def test_a_score_at_the_threshold_is_called_out() -> None:
    found = counts(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 2.0, 5.0]), np.array([2.0]))
    assert (found.missed[0], found.alarms[0], found.wrong()[0]) == (3, 1, 4)


def test_what_is_chosen_on_is_never_counted() -> None:
    parts = parted(np.arange(100.0), np.arange(100.0, 150.0), 0.1)
    assert [len(part) for part in (*parts.chosen_on, *parts.counted)] == [10, 5, 90, 45]
    whole = np.sort(np.concatenate([*parts.chosen_on, *parts.counted]))
    assert whole.tolist() == list(range(150))


def test_the_highest_are_called_in_and_the_lowest_out() -> None:
    # 16 canaries, of which the root calls 4 in and 4 out; one of each is wrong.
    inside = np.array([20.0, 19, 18, 1, 10, 9, 8, 7])
    outside = np.array([21.0, 2, 3, 4, 11, 12, 13, 14])
    assert guesses(inside, outside, 1.0) == Guesses(16, 8, 6)


def test_equal_scores_are_right_as_often_as_chance_has_it() -> None:
    # Six share the four highest places, two of them in; five the four lowest, four of them out.
    inside = np.array([9.0, 9, 1, 5, 5, 5, 5, 5])
    outside = np.array([9.0, 9, 9, 9, 1, 1, 1, 1])
    assert guesses(inside, outside, 1.0) == Guesses(16, 8, 4 * 2 // 6 + 4 * 4 // 5)


# --- the methods, by hand -----------------------------------------------------------------------


def test_guesses_that_are_all_right_are_coins_that_all_fell_alike() -> None:
    assert chance(Guesses(10, 5, 5), 0.0, 0.0) == pytest.approx(2**-5)
    # At epsilon ln 3 a guess is right three times in four.
    assert chance(Guesses(10, 5, 5), log(3), 0.0) == pytest.approx(0.75**5)


def test_delta_gives_away_the_most_for_its_price() -> None:
    # One guess, right: half, and one guess given away makes it certain: 1/2 + 2 m delta / 2.
    assert chance(Guesses(10, 1, 1), 0.0, 0.01) == pytest.approx(0.5 + 20 * 0.01 * 0.5)
    # Two, both right: 1/4; one given away wins 3/4 - 1/4, two win (1 - 1/4) / 2 each.
    assert chance(Guesses(10, 2, 2), 0.0, 0.01) == pytest.approx(0.25 + 20 * 0.01 * 0.5)


@given(made=st.integers(1, 40), share=st.floats(0, 1), epsilon=st.floats(0, 6))
def test_without_delta_guesses_are_randomized_response(
    made: int, share: float, epsilon: float
) -> None:
    right = round(share * made)
    expected = binom.sf(right - 1, made, 1 / (1 + np.exp(-epsilon)))
    assert chance(Guesses(100, made, right), epsilon, 0.0) == pytest.approx(expected)


@given(made=st.integers(1, 40), wrong=st.integers(0, 19), spare=st.integers(0, 100))
def test_where_nothing_leaks_f_dp_is_the_test_of_a_fair_coin_or_less(
    made: int, wrong: int, spare: int
) -> None:
    right = made - min(wrong, (made - 1) // 2)
    tail = sum(comb(made, each) for each in range(right, made + 1)) / 2**made
    found = Guesses(made + spare, made, right)
    assert slack(found, tail * 0.999, lambda caught: caught) > 0
    if right == made:
        assert slack(found, tail * 1.001, lambda caught: caught) < 0


def test_canaries_that_are_told_apart_leave_epsilon_to_their_number() -> None:
    inside, outside = np.full(200, 1.0), np.zeros(200)
    none = upper(np.array([0]), round(200 * (1 - SOME)), 0.025)[0]  # errors, of either kind
    found = generic(inside, outside, (), DELTA)
    assert found.epsilon == pytest.approx(log((1 - DELTA - none) / none))
    none = upper(np.array([0]), round(400 * (1 - FEW)), 0.05)[0]  # errors of both kinds
    assert total_errors(inside, outside, (), DELTA).epsilon == pytest.approx(
        of_gaussian(-2 * norm.ppf(none), DELTA)
    )


def test_the_point_is_the_epsilon_of_the_two_means() -> None:
    inside, outside = np.tile([1.0, 3.0], 50), np.tile([0.0, 2.0], 50)
    spread = (100 / 99) ** 0.5
    found = plug_in(inside, outside, DELTA)
    assert found.epsilon == pytest.approx(of_gaussian(1 / spread, DELTA))
    assert found.sentence().startswith("epsilon may be about")


# --- what every method promises -----------------------------------------------------------------


@EVERY
@pytest.mark.parametrize("claim", CLAIMS)
def test_more_separation_proves_more(name: str, claim: str) -> None:
    generator = np.random.default_rng(2)
    inside, outside = generator.normal(size=(2, 1500))
    found = [
        METHODS[name](inside + gap, outside, CLAIMS[claim], DELTA, 0.95).epsilon
        for gap in (-1.0, 0.0, 0.7, 1.5, 2.5, 4.0, 9.0)
    ]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] > 2.5


@EVERY
def test_one_score_for_all_proves_nothing(name: str) -> None:
    for size in (20, 1000):
        same = np.full(size, 0.3)
        assert METHODS[name](same, same, (), DELTA, 0.95).epsilon < 0.1


@EVERY
def test_few_different_scores_do_no_harm(name: str) -> None:
    """Nothing leaks, and yet a tie broken in favour of members would tell them all."""
    generator = np.random.default_rng(3)
    broken = 0
    for _ in range(RUNS):
        inside, outside = generator.integers(0, 3, (2, 300)).astype(float)
        broken += METHODS[name](inside, outside, (), DELTA, 0.95).breaks(0.0)
    assert broken <= MOST


@EVERY
def test_scores_that_overflow_are_extremes_and_what_is_no_number_is_no_sign(name: str) -> None:
    inside, outside = gaussian(8.0, 1000, 4)
    usual = METHODS[name](inside, outside, (), DELTA, 0.95).epsilon
    inside[inside > np.quantile(inside, 0.97)] = inf
    outside[outside < np.quantile(outside, 0.03)] = -inf
    assert METHODS[name](inside, outside, (), DELTA, 0.95).epsilon >= 0.8 * usual
    inside[:] = nan
    assert METHODS[name](inside, outside, (), DELTA, 0.95).epsilon == 0


@EVERY
def test_more_confidence_proves_less(name: str) -> None:
    scores = gaussian(4.0, 2000, 5)
    found = [METHODS[name](*scores, (), DELTA, sure).epsilon for sure in (0.999, 0.95, 0.8)]
    assert found == sorted(found)
    assert found[0] < found[2]


@EVERY
def test_a_bound_says_what_it_rests_on(name: str) -> None:
    found = METHODS[name](*gaussian(4.0, 2000, 6), (), DELTA, 0.9)
    assert (found.inside + found.outside, found.delta, found.confidence) == (2000, DELTA, 0.9)
    assert found.sentence().startswith(f"epsilon is at least {found.epsilon:.2f} at delta 1e-05")
    assert "90% confidence" in found.sentence()
    assert ("Gaussian mechanism" in found.assumption) == (name in FAMILY)
    assert found.premise == PREMISES[name]
    assert f"{found.method}, which assumes " in found.sentence()
    assert "2,000" in found.evidence or "all but" in found.evidence
    assert EpsilonBound.read(found.dump()) == found


@EVERY
def test_the_same_scores_prove_the_same(name: str) -> None:
    scores = gaussian(2.0, 500, 7)
    assert METHODS[name](*scores, (), DELTA, 0.95) == METHODS[name](*scores, (), DELTA, 0.95)


@EVERY
def test_what_proves_nothing_is_refused_in_words(name: str) -> None:
    method, enough = METHODS[name], np.arange(50.0)
    with pytest.raises(SettingError, match="inside holds scores of 0 canaries: give at least 20"):
        method(enough[:0], enough, (), DELTA, 0.95)
    with pytest.raises(SettingError, match="outside holds scores of 19 canaries"):
        method(enough, enough[:19], (), DELTA, 0.95)
    with pytest.raises(SettingError, match="delta is 0: it should lie between 0 and 1"):
        method(enough, enough, (), 0.0, 0.95)
    with pytest.raises(SettingError, match=r"confidence is 1: give 0\.5 or more"):
        method(enough, enough, (), DELTA, 1.0)


def test_a_point_needs_scores_that_have_a_mean() -> None:
    with pytest.raises(SettingError, match="scores overflow"):
        plug_in(np.array([inf] * 30), np.zeros(30), DELTA)
    assert plug_in(np.ones(30), np.zeros(30), DELTA).epsilon == 700  # no spread: no end
    assert plug_in(np.zeros(30), np.zeros(30), DELTA).epsilon == 0


# --- mechanisms that are known (more of them: benchmarks/audits.py) -----------------------------


@EVERY
@pytest.mark.parametrize("epsilon", [0.0, 1.0, 4.0])
def test_bounds_exceed_a_gaussian_mechanism_as_seldom_as_they_say(
    name: str, epsilon: float
) -> None:
    drawn = (gaussian(epsilon, 1000, seed) for seed in range(RUNS))
    broken = sum(METHODS[name](*scores, (), DELTA, 0.95).breaks(epsilon) for scores in drawn)
    assert broken <= MOST


@pytest.mark.parametrize("method", [generic, steinke])
@pytest.mark.parametrize("epsilon", [0.5, 2.0])
def test_bounds_that_assume_no_mechanism_hold_for_laplace(method: object, epsilon: float) -> None:
    drawn = (laplace(epsilon, 1000, seed) for seed in range(RUNS))
    assert sum(method(*scores, (), DELTA).breaks(epsilon) for scores in drawn) <= MOST  # type: ignore[operator]


@EVERY
def test_only_a_bound_that_assumes_nothing_holds_where_all_scores_go_wrong_together(
    name: str,
) -> None:
    """B4 of the review: a mechanism that publishes all memberships with chance 0.2, else nothing.

    It is (0, 0.2)-private, and its scores depend on each other.
    """
    generator, broken = np.random.default_rng(1), 0
    for _ in range(RUNS):
        inside = generator.random(400) < 0.5
        scores = generator.normal(size=400) + 100 * (inside if generator.random() < 0.2 else 0)
        found = METHODS[name](scores[inside], scores[~inside], (), 0.2, 0.95)
        broken += found.breaks(0.01)
    assert (broken > MOST) == (PREMISES[name] != NOTHING)


@pytest.mark.parametrize(
    ("name", "least"),
    [
        ("trade-off", {2.0: 1.3, 4.0: 3.2, 8.0: 6.8}),  # 65, 80 and 85 %
        ("total-errors", {1.0: 0.6, 2.0: 1.55, 4.0: 3.55, 8.0: 7.3}),
        ("f-dp", {2.0: 1.15, 4.0: 2.5, 8.0: 5.0}),
        ("steinke", {2.0: 0.85, 4.0: 1.8, 8.0: 3.3}),
        ("generic", {2.0: 0.4, 4.0: 1.25, 8.0: 2.6}),
    ],
)
def test_five_thousand_canaries_prove_most_of_epsilon(name: str, least: dict[float, float]) -> None:
    for epsilon, wanted in least.items():
        drawn = (gaussian(epsilon, 5000, seed) for seed in range(20))
        found = [METHODS[name](*scores, (), DELTA, 0.95).epsilon for scores in drawn]
        assert np.mean(found) > wanted
