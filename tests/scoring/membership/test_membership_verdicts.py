"""Exposures: an interval that holds the truth, who is most exposed, and a verdict in words."""

from __future__ import annotations

from math import nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from lab.common.settings import SettingError
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.membership_score import score_membership
from tests.support.membership_scores import SEEDS, drawn, exposed

# --- the bootstrap ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shift", "seeds"),
    [(0.5, 20), *(pytest.param(shift, 60, marks=pytest.mark.deep) for shift in (0.5, 1.5))],
)
def test_the_interval_of_the_area_covers_the_truth_nearly_always(shift: float, seeds: int) -> None:
    true, covered, widths = norm.cdf(shift / 2**0.5), 0, []
    areas = []
    for seed in range(seeds):
        found = exposed(*drawn(seed, 120, 120, shift))
        covered += found.auc_low <= true <= found.auc_high
        widths.append(found.auc_high - found.auc_low)
        areas.append(found.auc)
    assert covered >= 0.85 * seeds  # of 60 and a true 95 %, fewer happen once in 1,000
    # No wider than it must be: about four standard deviations of the area itself.
    assert np.mean(widths) == pytest.approx(2 * 1.96 * np.std(areas), rel=0.3)


@pytest.mark.parametrize(("seeds", "most"), [(12, 2), pytest.param(60, 5, marks=pytest.mark.deep)])
def test_scores_that_say_nothing_are_hardly_ever_called_a_leak(seeds: int, most: int) -> None:
    verdicts = [exposed(*drawn(seed, 120, 200)).verdict for seed in range(seeds)]
    # A leak is called where the interval lies above a half: by chance 2.5 %, so 1.5 of 60.
    assert sum("stand out" in verdict for verdict in verdicts) <= most


def test_an_interval_holds_its_own_area() -> None:
    for seed in range(10):
        found = exposed(*drawn(seed, 50, 80, shift=0.3))
        assert found.auc_low <= found.auc <= found.auc_high


@pytest.mark.parametrize(("seeds", "most"), [(12, 2), pytest.param(60, 8, marks=pytest.mark.deep)])
def test_a_single_member_is_no_evidence(seeds: int, most: int) -> None:
    verdicts = [exposed(*drawn(seed, 1, 300)).verdict for seed in range(seeds)]
    assert sum("stand out" in verdict for verdict in verdicts) <= most


def test_the_same_scores_give_the_same_exposure() -> None:
    members, others = drawn(0, 80, 90, shift=0.4)
    blind = np.random.default_rng(1).random(170)
    once, again = (exposed(members, others, blind, AttackCeiling(epsilon=1, delta=0)) for _ in "ab")
    assert once == again


def test_the_input_is_left_as_it_was() -> None:
    members, others = drawn(0, 30, 30)
    scores, member = np.concatenate([members, others]), np.arange(60) < 30
    blind = np.where(np.arange(60) % 2, 0.4, nan)
    before = scores.copy(), member.copy(), blind.copy()
    score_membership(scores, member, blind, None)
    for now, then in zip((scores, member, blind), before, strict=True):
        assert np.array_equal(now, then, equal_nan=True)


# --- the rest of an exposure --------------------------------------------------------------------


def test_the_most_exposed_members_have_the_highest_scores() -> None:
    scores = np.array([5.0, 99.0, 1.0, 98.0, 3.0, 2.0, 4.0, 97.0])
    member = np.array([True, False, True, False, True, True, True, False])
    found = score_membership(scores, member, None, None)
    assert found.most == (0, 6, 4, 5, 2)
    assert found.least == (2, 5, 4, 6, 0)
    assert (found.members, found.others) == (5, 3)


@given(seed=SEEDS)
def test_eight_members_are_named_at_each_end_and_never_another(seed: int) -> None:
    generator = np.random.default_rng(seed)
    scores, member = generator.integers(0, 6, 60).astype(float), generator.random(60) < 0.5
    found = score_membership(scores, member, None, None)
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
