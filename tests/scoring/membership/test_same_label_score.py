"""Strata: membership given the label, by hand, by brute force, and by repeating the draw."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from lab.scoring.membership.same_label_score import stratified
from lab.scoring.shared.bootstrap import RankedScores
from lab.scoring.shared.roc_curve import auc, true_positives

EXAMPLE = st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 2))  # score, member, label
CANDIDATES = st.lists(EXAMPLE, min_size=2, max_size=24).filter(
    lambda drawn: 0 < sum(member for _, member, _ in drawn) < len(drawn)
)


def skewed(seed: int, examples: int, shift: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Members mostly have label 0, whose scores are high; given the label they gain `shift`."""
    generator = np.random.default_rng(seed)
    member = np.arange(examples) < examples // 2
    labels = (generator.random(examples) < np.where(member, 0.2, 0.8)).astype(np.int64)
    scores = generator.normal(size=examples) + shift * member + np.where(labels == 0, 2.0, 0.0)
    return scores, member, labels


# --- by hand ------------------------------------------------------------------------------------


def test_members_are_compared_with_others_of_their_own_label() -> None:
    scores = np.array([9.0, 8.0, 1.0, 7.0, 8.5, 2.0, 1.0, 5.0])
    member = np.array([True, True, True, False, False, False, False, True])
    labels = np.array([0, 0, 1, 0, 0, 1, 1, 2])
    # Label 0: 9 beats both, 8 beats one of two.  Label 1: 1 ties one of two.  Label 2 is alone.
    found = stratified(scores, member, labels)
    assert found.given == pytest.approx((1 + 1 / 2 + 1 / 4) / 3)
    assert (found.labels, found.members, found.others, found.left_out) == (2, 3, 4, 1)
    # Of all 16 pairs: 9 wins 4; 8 wins 3; 1 ties 1; 5 wins 2.
    assert found.leaked == pytest.approx((4 + 3 + 0.5 + 2) / 16 - 1.75 / 3)


def test_a_score_that_only_tells_the_label_is_worth_nothing_given_the_label() -> None:
    scores, member, labels = skewed(0, 600, 0.0)
    found = stratified((labels == 0).astype(float), member, labels)
    assert (found.given, found.given_low, found.given_high) == (0.5, 0.5, 0.5)
    assert found.leaked == pytest.approx(auc(scores[member], scores[~member]) - 0.5, abs=0.2)
    assert found.leaked_low is not None
    assert found.leaked_low > 0.2
    assert "no better than chance" in found.verdict


def test_no_label_on_both_sides_is_said_so() -> None:
    member = np.arange(60) < 30
    found = stratified(np.arange(60.0), member, member.astype(np.int64))
    assert found.given is None
    assert "no label is on both sides" in found.verdict
    assert found.lines() == [found.verdict, "60 candidates have a label that is on one side only"]


def test_a_handful_is_too_few() -> None:
    scores, member, labels = skewed(0, 30, 3.0)
    assert "too few" in stratified(scores, member, labels).verdict


# --- against brute force ------------------------------------------------------------------------


@given(CANDIDATES)
def test_the_area_counts_pairs_of_equal_labels(drawn: list[tuple[int, bool, int]]) -> None:
    shares = []
    for score, member, label in drawn:
        rivals = [yours for yours, theirs, other in drawn if not theirs and other == label]
        if member and rivals:
            wins = sum((score > yours) + (score == yours) / 2 for yours in rivals)
            shares.append(wins / len(rivals))
    scores, members, labels = (np.array(each) for each in zip(*drawn, strict=True))
    found = stratified(scores.astype(float), members, labels).given
    assert found == (pytest.approx(np.mean(shares)) if shares else None)


@given(CANDIDATES, st.integers(0, 100))
def test_a_ladder_has_the_area_and_rates_of_each_label(
    drawn: list[tuple[int, bool, int]], percent: int
) -> None:
    scores, member, labels = (np.array(each) for each in zip(*drawn, strict=True))
    ladder, rates = RankedScores.of(scores, member, labels), np.array([percent / 100])
    above = ladder.above(ladder.counts, rates)
    for place, label in enumerate(np.unique(labels)):
        mine, yours = (scores[(labels == label) & (member == side)] for side in (True, False))
        if len(yours) and len(mine):
            assert above[place] / len(mine) == true_positives(mine, yours, rates)
        elif not len(yours):
            assert above[place] == len(mine)


def test_without_labels_a_ladder_is_the_plain_area() -> None:
    generator = np.random.default_rng(0)
    scores, member = generator.integers(0, 9, 200).astype(float), generator.random(200) < 0.4
    ladder = RankedScores.of(scores, member, np.zeros(200, dtype=np.int64))
    assert ladder.area(ladder.counts) == pytest.approx(auc(scores[member], scores[~member]))


# --- by repeating the draw ----------------------------------------------------------------------


@pytest.mark.parametrize("seeds", [12, pytest.param(60, marks=pytest.mark.deep)])
@pytest.mark.parametrize("shift", [0.0, 0.7])
def test_intervals_cover_the_truth_nearly_always(shift: float, seeds: int) -> None:
    within = norm.cdf(shift / 2**0.5)
    # Pooled: a pair's labels are 0 with 0.8 and 0.2, so the gap of scores is shift + 0, +-2.
    pooled = sum(
        share * norm.cdf((shift + gap) / 2**0.5)
        for share, gap in ((0.32, 0.0), (0.64, 2.0), (0.04, -2.0))
    )
    covered = leaked = 0
    for seed in range(seeds):
        found = stratified(*skewed(seed, 300, shift))
        assert found.given_low is not None
        assert found.given_high is not None
        assert found.leaked_low is not None
        assert found.leaked_high is not None
        covered += found.given_low <= within <= found.given_high
        leaked += found.leaked_low <= pooled - within <= found.leaked_high
    assert (
        min(covered, leaked) >= 0.85 * seeds
    )  # of a true 95 %, fewer than 51 of 60 happen once in 1,000


@pytest.mark.parametrize(("examples", "enough"), [(1_000, 0), (8_000, 1), (16_000, 2)])
def test_a_rate_takes_a_threshold_for_each_label(examples: int, enough: int) -> None:
    """One in five others has label 0, so their non-members are soon too few."""
    scores, member, labels = skewed(1, examples, 1.5)
    told = stratified(scores, member, labels).rate
    assert told is not None
    if not enough:
        assert (told.value, told.low, told.high) == (None, None, None)
        assert "not enough non-members to say" in told.sentence()
        return
    used = [1, 0][:enough]
    mine = [scores[member & (labels == label)] for label in used]
    yours = [scores[~member & (labels == label)] for label in used]
    rates = [true_positives(*pair, np.array([0.01]))[0] for pair in zip(mine, yours, strict=True)]
    assert told.value == pytest.approx(np.average(rates, weights=[len(each) for each in mine]))
    assert told.low is not None
    assert told.high is not None
    assert told.low < told.value < told.high
    assert f"labels with non-members enough: {enough} of 2" in told.sentence()


def test_a_blind_guess_by_labels_is_blind_to_members_with_the_same_label() -> None:
    scores, member, labels = skewed(2, 400, 1.0)
    fair = stratified(scores, member, labels, (labels == 0).astype(float))
    unfair = stratified(scores, member, labels, member + np.random.default_rng(0).random(400))
    assert fair.valid
    assert fair.blind == 0.5
    assert "stand out even" in fair.verdict
    assert not unfair.valid
    assert "invalid" in unfair.verdict
