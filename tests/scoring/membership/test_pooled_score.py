"""Pooled targets: what an attack achieves against several models, and how sure that is."""

from __future__ import annotations

import numpy as np
import pytest

from lab.scoring.membership.membership_score import score_membership
from lab.scoring.membership.pooled_score import _area, _counts, _drawn, _true_positives, pooled
from lab.scoring.shared.roc_curve import auc, true_positives


def scored(
    models: int, candidates: int, seed: int, luck: float = 0.0, lift: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """luck: how much better the attack fares against one model than against another"""
    generator = np.random.default_rng(seed)
    inside = generator.random((models, candidates)) < 0.5
    strength = lift + luck * generator.standard_normal((models, 1))
    return inside * strength + generator.standard_normal((models, candidates)), inside


def test_by_hand() -> None:
    """Two models, four candidates; a tie between a member and another counts half."""
    members, others = np.array([1, 0, 2, 1]), np.array([0, 1, 1, 2])  # from the highest score down
    assert _area(members, others) == pytest.approx((4 + 2 * (2 + 0.5) + 1) / 16)
    found = _true_positives(members, others, np.array([0.0, 0.25, 0.5, 1.0]))
    assert found.tolist() == [0.25, 0.25, 0.75, 1.0]


@pytest.mark.parametrize("ties", [False, True])
def test_with_every_weight_one_it_is_the_usual_curve(ties: bool) -> None:
    scores, inside = scored(3, 50, seed=0)
    scores = scores.round(1) if ties else scores
    values = np.unique(scores)[::-1]
    members = np.array([(scores[inside] == value).sum() for value in values])
    others = np.array([(scores[~inside] == value).sum() for value in values])
    rates = np.array([0.0, 0.01, 0.1, 0.3, 1.0])
    assert _area(members, others) == pytest.approx(auc(scores[inside], scores[~inside]))
    expected = true_positives(scores[inside], scores[~inside], rates)
    assert _true_positives(members, others, rates).tolist() == pytest.approx(expected.tolist())


def test_what_is_stated_is_of_all_scores_together() -> None:
    scores, inside = scored(4, 100, seed=1)
    found, plain = (
        pooled(scores, inside, range(len(scores)), None),
        score_membership(scores.ravel(), inside.ravel(), None, None),
    )
    assert (found.members, found.others) == (plain.members, plain.others)
    assert found.auc == plain.auc
    assert found.curve.true_positives == plain.curve.true_positives
    assert found.blind is None


def test_intervals_are_never_narrower_than_of_scores_on_their_own() -> None:
    scores, inside = scored(4, 600, seed=2)
    found, plain = (
        pooled(scores, inside, range(len(scores)), None),
        score_membership(scores.ravel(), inside.ravel(), None, None),
    )
    assert found.auc_low <= plain.auc_low < plain.auc_high <= found.auc_high
    assert found.rates[0].low <= plain.rates[0].low
    assert all(np.less_equal(found.curve.low, plain.curve.low))


def test_models_that_differ_widen_the_interval() -> None:
    """The truth varies from model to model, which scores taken one by one do not show."""
    scores, inside = scored(6, 400, seed=3, luck=1.0)
    found, plain = (
        pooled(scores, inside, range(len(scores)), None),
        score_membership(scores.ravel(), inside.ravel(), None, None),
    )
    assert found.auc_high - found.auc_low > 2 * (plain.auc_high - plain.auc_low)


@pytest.mark.parametrize("seeds", [12, pytest.param(40, marks=pytest.mark.deep)])
def test_the_interval_holds_the_truth_as_often_as_it_says(seeds: int) -> None:
    """Luck of models and of examples: the area over all that there might be is known."""
    held = 0
    for seed in range(seeds):
        scores, inside = scored(8, 60, seed=1000 + seed, luck=0.6, lift=0.0)
        low, high = np.quantile(
            _drawn(scores, inside, range(8), np.array([0.1]))[0], [0.025, 0.975]
        )
        held += low <= 0.5 <= high
    assert held >= 0.85 * seeds, "95 % are expected"


def test_two_models_that_share_a_pool_out_are_drawn_together_by_hand() -> None:
    """C8 of a hostile review: one pair, where every member of the first is outside of the second.

    The first model gives members away, the second says nothing.  Candidates A, B and C, of which
    the first is trained on A alone.  If the pair is drawn whole, then of three drawn candidates a
    are A: the first model has a members with score 1 and 3 - a others with 0, the second 3 - a
    members and a others with 0.  So the area is (a + (3 - a) / 2) / 3, of 0.5, 2/3, 5/6 or 1.
    Drawn one by one, the first may be there twice and the second not at all: area 1, for a = 1.
    """
    inside = np.array([[True, False, False], [False, True, True]])
    scores = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    together, _ = _drawn(scores, inside, [0, 0], np.array([0.1]))
    alone, _ = _drawn(scores, inside, [0, 1], np.array([0.1]))
    assert set(together.round(4)) == {0.5, 0.6667, 0.8333, 1.0}
    # All three are A in 1 of 27 draws.  Alone, the first model twice says it in 1 of 4, too.
    assert (together == 1).mean() < 0.1 < (alone == 1).mean()


def test_pairs_are_drawn_whole_and_as_many_as_there_are() -> None:
    generator = np.random.default_rng(0)
    drawn = [tuple(_counts(generator, 2)) for _ in range(200)]
    assert set(drawn) == {(2, 0), (1, 1), (0, 2)}
    assert 0.4 < drawn.count((1, 1)) / 200 < 0.6  # half of the time


def test_chance_over_models_is_called_chance() -> None:
    """A model that gives its members away among others that do not is no finding about all."""
    scores, inside = scored(4, 400, seed=4, lift=0.0)
    scores[0] += 1.2 * inside[0]
    plain = score_membership(scores.ravel(), inside.ravel(), None, None)
    assert plain.auc_low > 0.5
    found = pooled(scores, inside, range(len(scores)), None)
    assert found.verdict.startswith("no better than chance: over such models")


def test_the_most_exposed_are_those_who_were_so_on_average_while_inside() -> None:
    inside = np.ones((2, 30), dtype=bool)
    inside[1, 15:] = inside[0, 14] = inside[1, 14] = False
    scores = np.tile(np.arange(30.0), (2, 1))
    scores[0, 3], scores[1, 3] = 90.0, 100.0
    scores[1, 20] = 1000.0  # while it was outside
    found = pooled(scores, inside, range(len(scores)), None)
    assert found.most[:2] == (3, 29)
    assert 14 not in found.least
    assert found.least[0] == 0
