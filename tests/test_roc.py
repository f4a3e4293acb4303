"""Membership scores: rates and intervals by hand, by brute force, and by repeating the draw."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import exp, inf, log, nan

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, norm
from sklearn.metrics import roc_auc_score

from lab.blind import FEWEST, MOST, blind_scores
from lab.roc import GRID, Ceiling, Exposure, auc, expose, rate, true_positives
from lab.settings import SettingError
from lab.views import Candidates

SEEDS = st.integers(0, 10**6)
FEW_VALUES = st.lists(st.integers(0, 4).map(float), min_size=1, max_size=25)  # so most are tied
ANY_VALUES = st.lists(st.sampled_from([-inf, -1.0, 0.0, 0.5, 2.0, inf]), min_size=1, max_size=25)
Scores = tuple[np.ndarray, np.ndarray]  # of members, of others
RATES = st.builds(Fraction, st.integers(0, 100), st.just(100))


def exposed(
    members: np.ndarray,
    others: np.ndarray,
    blind: np.ndarray | None = None,
    ceiling: Ceiling | None = None,
) -> Exposure:
    member = np.arange(len(members) + len(others)) < len(members)
    return expose(np.concatenate([members, others]), member, blind, ceiling)


def drawn(seed: int, members: int, others: int, shift: float = 0.0) -> Scores:
    """Normal scores; members' lie higher by `shift`, so the true AUC is Phi(shift / sqrt 2)."""
    generator = np.random.default_rng(seed)
    return generator.normal(shift, size=members), generator.normal(size=others)


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


def test_the_interval_of_a_rate_covers_the_true_rate_nearly_always() -> None:
    true, covered = norm.sf(norm.isf(0.01) - 1.0), 0
    for seed in range(100):
        (told, _) = exposed(*drawn(seed, 1_000, 1_000, shift=1.0)).rates
        assert told.low is not None
        assert told.high is not None
        covered += told.low <= true <= told.high
    assert covered >= 88  # of a true 95 %, fewer happen once in 240


# --- the bootstrap ------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.5, 1.5])
def test_the_interval_of_the_area_covers_the_truth_nearly_always(shift: float) -> None:
    true, covered, widths = norm.cdf(shift / 2**0.5), 0, []
    areas = []
    for seed in range(60):
        found = exposed(*drawn(seed, 120, 120, shift))
        covered += found.auc_low <= true <= found.auc_high
        widths.append(found.auc_high - found.auc_low)
        areas.append(found.auc)
    assert covered >= 51  # of a true 95 %, fewer happen once in 1,000
    # No wider than it must be: about four standard deviations of the area itself.
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(areas), rel=0.3)


def test_scores_that_say_nothing_are_hardly_ever_called_a_leak() -> None:
    verdicts = [exposed(*drawn(seed, 120, 200)).verdict for seed in range(60)]
    # A leak is called where the interval lies above a half: by chance 2.5 %, so 1.5 of 60.
    assert sum("stand out" in verdict for verdict in verdicts) <= 5


def test_an_interval_holds_its_own_area() -> None:
    for seed in range(10):
        found = exposed(*drawn(seed, 50, 80, shift=0.3))
        assert found.auc_low <= found.auc <= found.auc_high


def test_a_single_member_is_no_evidence() -> None:
    verdicts = [exposed(*drawn(seed, 1, 300)).verdict for seed in range(60)]
    assert sum("stand out" in verdict for verdict in verdicts) <= 8


def test_the_same_scores_give_the_same_exposure() -> None:
    members, others = drawn(0, 80, 90, shift=0.4)
    blind = np.random.default_rng(1).random(170)
    once, again = (exposed(members, others, blind, Ceiling(epsilon=1, delta=0)) for _ in "ab")
    assert once == again


def test_the_input_is_left_as_it_was() -> None:
    members, others = drawn(0, 30, 30)
    scores, member = np.concatenate([members, others]), np.arange(60) < 30
    blind = np.where(np.arange(60) % 2, 0.4, nan)
    before = scores.copy(), member.copy(), blind.copy()
    expose(scores, member, blind, None)
    for now, then in zip((scores, member, blind), before, strict=True):
        assert np.array_equal(now, then, equal_nan=True)


# --- the rest of an exposure --------------------------------------------------------------------


def test_the_most_exposed_members_have_the_highest_scores() -> None:
    scores = np.array([5.0, 99.0, 1.0, 98.0, 3.0, 2.0, 4.0, 97.0])
    member = np.array([True, False, True, False, True, True, True, False])
    found = expose(scores, member, None, None)
    assert found.most == (0, 6, 4, 5, 2)
    assert found.least == (2, 5, 4, 6, 0)
    assert (found.members, found.others) == (5, 3)


@given(seed=SEEDS)
def test_eight_members_are_named_at_each_end_and_never_another(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, member = generator.integers(0, 6, 60).astype(float), generator.random(60) < 0.5
    found = expose(scores, member, None, None)
    mine = sorted(scores[member])
    assert [scores[place] for place in found.most] == mine[::-1][:8]
    assert [scores[place] for place in found.least] == mine[:8]
    assert member[list(found.most + found.least)].all()


@given(
    members=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40),
    others=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=400),
)
def test_the_histogram_loses_nobody(members: list[float], others: list[float]) -> None:
    histogram = exposed(np.array(members), np.array(others)).histogram
    edges = histogram["edges"]
    assert len(edges) == 41
    assert list(edges) == sorted(edges)
    assert max(members + others) <= edges[-1]
    for name, scores in (("members", members), ("others", others)):
        shares = histogram[name]
        assert sum(shares) == pytest.approx(1.0)
        top = sum(score >= edges[-2] for score in scores) / len(scores)
        bottom = sum(score < edges[1] for score in scores) / len(scores)  # clipped ones included
        if edges[0] < edges[1] and edges[-2] < edges[-1]:
            assert shares[-1] == pytest.approx(top)
            assert shares[0] == pytest.approx(bottom)


def test_a_long_lower_tail_does_not_squeeze_the_histogram() -> None:
    members, others = np.linspace(0, 1, 500), np.r_[-1e6, np.linspace(0, 1, 499)]
    histogram = exposed(members, others).histogram
    assert histogram["edges"][0] >= 0
    assert sum(histogram["others"]) == pytest.approx(1.0)


def test_the_verdict_is_in_words() -> None:
    high, low = np.linspace(1, 2, 40), np.linspace(0, 1.2, 40)
    telling = np.r_[np.linspace(0.6, 1, 40), np.linspace(0, 0.5, 40)]
    silent = np.tile([0.1, 0.9], 40)
    assert exposed(high, low).verdict.startswith("members stand out")
    assert exposed(low, low).verdict.startswith("no better than chance")
    assert exposed(high, low, silent).verdict.startswith("members stand out")
    # Where members differ by themselves, no membership score means anything.
    assert exposed(high, low, telling).verdict.startswith("invalid")
    assert exposed(low, low, telling).verdict.startswith("invalid")
    hinting = np.r_[np.linspace(0.25, 1.25, 40), np.linspace(0, 1, 40)]  # area 0.72
    assert exposed(low, low, hinting).verdict.startswith("invalid")


def test_an_interval_below_a_half_is_not_said_to_hold_a_half() -> None:
    found = exposed(np.linspace(0, 1, 60), np.linspace(1, 2, 60))
    assert found.auc_high < 0.5
    assert "holds 0.5" not in found.verdict


def test_scores_that_are_all_no_numbers_are_refused_in_words() -> None:
    with pytest.raises(SettingError, match="nothing but overflow: choose an earlier round"):
        exposed(np.array([nan, -np.inf, nan]), np.array([-np.inf, nan]))


@pytest.mark.parametrize("broken", [nan, -np.inf])
def test_a_score_that_is_no_number_is_the_lowest(broken: float) -> None:
    """A loss that overflows is the largest there is, so the example looks least like a member."""
    found = exposed(np.array([broken, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, broken, 2.0]))
    plain = exposed(np.array([-9.0, 1.0, 2.0, 3.0]), np.array([0.0, 1.0, -9.0, 2.0]))
    assert found.auc == plain.auc
    assert found.least[0] == 0


def test_only_what_the_blind_guess_judged_counts() -> None:
    members, others = drawn(0, 6, 6)
    blind = np.array([nan, 0.9, 0.4, nan, 0.6, nan, 0.5, nan, 0.1, nan, nan, 0.6])
    found = exposed(members, others, blind)
    # Members .9 .4 .6 against .5 .1 .6: 3 + 1 + 2.5 pairs won of nine.
    assert found.blind == pytest.approx(6.5 / 9)
    assert found.blind is not None
    assert found.blind_low is not None
    assert found.blind_high is not None
    assert found.blind_low <= found.blind <= found.blind_high
    assert found.baseline().startswith("blind guess: AUC 0.722 (")


def test_without_a_blind_guess_it_is_said_that_there_were_too_few() -> None:
    found = exposed(*drawn(0, 6, 6))
    assert (found.blind, found.blind_low, found.blind_high) == (None, None, None)
    assert "too few" in found.baseline()


# --- the ceiling of privacy ---------------------------------------------------------------------

EPSILONS = st.floats(0, 50)
DELTAS = st.floats(0, 1)


def test_without_any_epsilon_the_ceiling_is_the_diagonal() -> None:
    ceiling = Ceiling(epsilon=0, delta=0)
    assert ceiling.true_positives(GRID) == pytest.approx(GRID)
    assert ceiling.auc() == pytest.approx(0.5)


def test_delta_alone_lifts_the_diagonal_by_delta() -> None:
    rates = np.array([0.0, 0.3, 0.8, 0.9, 1.0])
    found = Ceiling(epsilon=0, delta=0.2).true_positives(rates)
    assert found == pytest.approx([0.2, 0.5, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("epsilon", [30.0, 800.0])  # e^800 is more than a float can hold
def test_a_huge_epsilon_promises_nothing(epsilon: float) -> None:
    ceiling = Ceiling(epsilon=epsilon, delta=0)
    assert ceiling.true_positives(np.array([1e-4, 0.1, 1.0])) == pytest.approx([1, 1, 1])
    assert ceiling.auc() == pytest.approx(1.0, abs=1e-6)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_the_ceiling_is_the_lower_of_two_lines(epsilon: float, delta: float) -> None:
    steep = exp(epsilon) * GRID + delta
    flat = 1 - exp(-epsilon) * (1 - delta - GRID)
    expected = np.minimum(1, np.minimum(steep, flat))
    assert Ceiling(epsilon=epsilon, delta=delta).true_positives(GRID) == pytest.approx(expected)


@given(epsilon=st.floats(0, 6), delta=DELTAS)
def test_the_ceiling_keeps_both_promises_of_privacy_and_uses_one_up(
    epsilon: float, delta: float
) -> None:
    """Kairouz et al. 2015, theorem 2.1, in the two kinds of error."""
    missed = 1 - Ceiling(epsilon=epsilon, delta=delta).true_positives(GRID)
    one = GRID + exp(epsilon) * missed - (1 - delta)
    other = missed + exp(epsilon) * GRID - (1 - delta)
    assert (one >= -1e-9).all()
    assert (other >= -1e-9).all()
    assert ((np.minimum(one, other) < 1e-9) | (missed < 1e-9)).all()


@given(epsilon=EPSILONS, delta=DELTAS)
def test_the_area_under_the_ceiling_has_a_closed_form(epsilon: float, delta: float) -> None:
    """What lies above is the triangle of delta = 0, shrunk by 1 - delta on both axes.

    At delta = 0 the lines meet at (1, e^epsilon) / (1 + e^epsilon), so the area above is
    1 / (1 + e^epsilon), and the area below it the logistic function of epsilon.
    """
    expected = 1 - (1 - delta) ** 2 / (1 + exp(epsilon))
    assert Ceiling(epsilon=epsilon, delta=delta).auc() == pytest.approx(expected, abs=1e-5)


def test_randomised_response_touches_its_ceiling_and_does_not_pass() -> None:
    """Members answer yes with chance 3/4 and others with chance 1/4: epsilon is log 3."""
    members, others = np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 0, 0])
    ceiling = Ceiling(epsilon=log(3), delta=0)
    reached, most = true_positives(members, others, GRID), ceiling.true_positives(GRID)
    assert (reached <= most + 1e-12).all()
    corner = np.array([1 / 4])
    assert true_positives(members, others, corner)[0] == 3 / 4
    assert ceiling.true_positives(corner)[0] == pytest.approx(3 / 4)
    assert auc(members, others) == 3 / 4
    assert ceiling.auc() == pytest.approx(3 / 4, abs=1e-5)


def test_a_mechanism_that_fails_with_chance_delta_touches_its_ceiling_too() -> None:
    """With chance 1/5 it says outright who it is; otherwise it answers as above."""
    members = np.repeat([2.0, 1.0, 0.0], [4, 12, 4])
    others = np.repeat([1.0, 0.0, -1.0], [4, 12, 4])
    ceiling = Ceiling(epsilon=log(3), delta=1 / 5)
    corners = np.array([0.0, 1 / 5, 4 / 5])
    reached = true_positives(members, others, corners)
    assert reached.tolist() == [1 / 5, 4 / 5, 1.0]
    assert ceiling.true_positives(corners) == pytest.approx(reached)
    assert (true_positives(members, others, GRID) <= ceiling.true_positives(GRID) + 1e-12).all()
    assert auc(members, others) == pytest.approx(0.84)  # 1 - 0.8^2 / 4
    assert ceiling.auc() == pytest.approx(0.84, abs=1e-5)


def test_a_larger_epsilon_never_lowers_the_ceiling() -> None:
    heights = [Ceiling(epsilon=e, delta=0.01).true_positives(GRID) for e in (0, 0.1, 1, 3, 9)]
    for lower, higher in pairwise(heights):
        assert (higher >= lower).all()


def test_the_exposure_carries_the_area_under_the_ceiling() -> None:
    members, others = drawn(0, 20, 20)
    ceiling = Ceiling(epsilon=2, delta=1e-3)
    assert exposed(members, others, ceiling=ceiling).ceiling_auc == ceiling.auc()
    assert exposed(members, others).ceiling_auc is None


# --- the blind baseline -------------------------------------------------------------------------


def candidates(seed: int, examples: int, columns: int = 12) -> tuple[Candidates, np.ndarray]:
    """Noise with labels of no meaning, and a random half of it as members."""
    generator = np.random.default_rng(seed)
    inputs = torch.from_numpy(generator.normal(size=(examples, columns)).astype(np.float32))
    labels = torch.from_numpy(generator.integers(0, 4, examples))
    return Candidates(inputs, labels), generator.permutation(examples) < examples // 2


def blind_auc(found: Candidates, member: np.ndarray) -> float:
    scores = blind_scores(found, member)
    assert scores is not None
    known = ~np.isnan(scores)
    return auc(scores[known & member], scores[known & ~member])


def told_apart(found: Candidates, member: np.ndarray) -> bool:
    """Whether the panel would be marked invalid."""
    scores = blind_scores(found, member)
    judged = expose(np.zeros(len(member)), member, scores, None)
    return judged.verdict.startswith("invalid")


def test_a_random_half_cannot_be_told_without_the_model() -> None:
    areas = [blind_auc(*candidates(seed, 400)) for seed in range(12)]
    assert np.mean(areas) == pytest.approx(0.5, abs=0.035)  # 200 judged: 0.041 / sqrt 12 each
    assert all(abs(area - 0.5) < 0.15 for area in areas)


def test_a_random_half_is_hardly_ever_called_invalid() -> None:
    called = sum(told_apart(*candidates(seed, 200)) for seed in range(20))
    assert called <= 3  # by chance 2.5 %, so half a one of 20


def test_a_column_that_gives_members_away_is_found() -> None:
    found, member = candidates(0, 400)
    found.inputs[:, 3] += torch.from_numpy(member) * 3.0
    assert blind_auc(found, member) > 0.9
    assert told_apart(found, member)


def test_labels_that_give_members_away_are_found() -> None:
    found, member = candidates(0, 400)
    labels = found.labels % 2 + 2 * torch.from_numpy(member)
    assert blind_auc(Candidates(found.inputs, labels), member) > 0.9


def test_brighter_pictures_are_found() -> None:
    generator = np.random.default_rng(0)
    pictures = torch.from_numpy(generator.random((300, 1, 14, 14), dtype=np.float32))
    member = np.arange(300) < 150
    pictures[:150] += 0.1
    assert blind_auc(Candidates(pictures, torch.zeros(300, dtype=torch.int64)), member) > 0.9


@pytest.mark.parametrize("given_away_by", ["pixel", "label"])
def test_one_telling_column_among_many_is_found(given_away_by: str) -> None:
    generator = np.random.default_rng(0)
    pictures = torch.from_numpy(generator.random((600, 1, 28, 28), dtype=np.float32))
    labels = torch.from_numpy(generator.integers(0, 5, 600))
    member = np.arange(600) < 300
    if given_away_by == "pixel":
        pictures[:, 0, 0, 0] = torch.from_numpy(member).float()
    else:
        labels = labels + 5 * torch.from_numpy(member)
    assert blind_auc(Candidates(pictures, labels), member) > 0.75


def test_one_half_is_judged_by_what_the_other_half_taught() -> None:
    found, member = candidates(0, 400)
    scores = blind_scores(found, member)
    assert scores is not None
    judged = ~np.isnan(scores)
    assert judged.sum() == 200
    assert judged[member].sum() == 100
    assert ((scores[judged] >= 0) & (scores[judged] <= 1)).all()


def test_too_few_on_either_side_say_nothing() -> None:
    found, _ = candidates(0, 2 * FEWEST + 20)
    places = np.arange(len(found.labels))
    assert blind_scores(found, places < FEWEST - 1) is None
    assert blind_scores(found, places >= FEWEST - 1) is None
    assert blind_scores(found, places < FEWEST) is not None


def test_of_many_examples_a_bounded_number_is_used() -> None:
    found, _ = candidates(0, 2 * MOST + 1_100, columns=2)
    scores = blind_scores(found, np.arange(len(found.labels)) < MOST + 900)
    assert scores is not None
    assert (~np.isnan(scores)).sum() == MOST


def test_the_blind_guess_is_the_same_every_time_and_leaves_its_input_alone() -> None:
    found, member = candidates(5, 200)
    before = found.inputs.clone(), found.labels.clone(), member.copy()
    once, again = blind_scores(found, member), blind_scores(found, member)
    assert once is not None
    assert again is not None
    assert np.array_equal(once, again, equal_nan=True)
    assert torch.equal(found.inputs, before[0])
    assert torch.equal(found.labels, before[1])
    assert np.array_equal(member, before[2])


def test_a_single_class_and_columns_that_never_change_do_no_harm() -> None:
    found, member = candidates(3, 400)
    found.inputs[:, 4:] = 0.0
    area = blind_auc(Candidates(found.inputs, torch.zeros(400, dtype=torch.int64)), member)
    assert area == pytest.approx(0.5, abs=0.12)
