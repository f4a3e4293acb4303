"""Detection: by hand, against scikit-learn and SciPy, and by drawing clients again and again."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm
from sklearn.metrics import roc_auc_score, roc_curve

from lab.scoring.poisoning.detection import Detection, bounds, detect

SEEDS = st.integers(0, 10**6)


def detected(bad: list[float], good: list[float]) -> Detection:
    truth = np.arange(len(bad) + len(good)) < len(bad)
    found = detect("score", np.array([*bad, *good]), truth)
    assert found is not None
    return found


# --- by hand --------------------------------------------------------------------------------------


def test_the_corners_and_the_area_by_hand() -> None:
    # Pairs: 4 > 1, 4 > 3, 2 > 1, 2 < 3.
    found = detected([4.0, 2.0], [1.0, 3.0])
    assert found.auc == 0.75
    assert (found.malicious, found.honest) == (2, 2)
    assert found.false_positives == (0.0, 0.5, 1.0)
    assert found.true_positives == (0.5, 1.0, 1.0)


def test_scores_that_find_everybody_may_have_been_lucky() -> None:
    found = detected([9.0, 8.0, 7.0], [1.0, 2.0, 3.0, 4.0])
    assert found.auc == 1
    assert found.luck == pytest.approx(1 / comb(7, 3))


def test_scores_that_are_all_equal_tell_nothing() -> None:
    found = detected([1.0, 1.0], [1.0] * 5)
    assert (found.auc, found.luck) == (0.5, 1.0)


def test_rounding_puts_no_equals_in_an_order() -> None:
    assert detected([0.1 + 0.2], [0.3]).auc == 0.5
    assert detected([1e30], [1e-30, 2e-30]).auc == 1


@pytest.mark.parametrize("bad", [[True] * 4, [False] * 4])
def test_one_kind_of_client_cannot_be_told_from_another(bad: list[bool]) -> None:
    assert detect("score", np.arange(4.0), np.array(bad)) is None


# --- intervals ------------------------------------------------------------------------------------


@pytest.mark.parametrize("pairs", [1, 2, 5, 20, 500])
def test_an_interval_at_the_end_is_that_of_so_many_coins(pairs: int) -> None:
    """Where all pairs are won the bound is exact: no distribution makes it wider or narrower."""
    low, high = bounds(1.0, pairs)
    exact = binomtest(pairs, pairs).proportion_ci(method="exact")
    assert (low, high) == (pytest.approx(exact.low), 1.0)
    assert bounds(0.0, pairs) == (0.0, pytest.approx(1 - exact.low))


@given(value=st.floats(0, 1), pairs=st.integers(1, 1000))
def test_an_interval_holds_its_value_and_narrows_with_more_clients(
    value: float, pairs: int
) -> None:
    low, high = bounds(value, pairs)
    assert 0 <= low <= value <= high <= 1
    closer = bounds(value, 2 * pairs)
    assert low <= closer[0] + 1e-12
    assert closer[1] <= high + 1e-12


@pytest.mark.parametrize(("bad", "good", "apart"), [(2, 8, 0.0), (5, 15, 1.0), (5, 15, 4.0)])
def test_the_truth_lies_within_the_interval_as_often_as_promised(
    bad: int, good: int, apart: float
) -> None:
    generator, truth = np.random.default_rng(0), norm.cdf(apart / 2**0.5)
    held = 0
    for _ in range(300):
        found = detected(
            (generator.normal(size=bad) + apart).tolist(), generator.normal(size=good).tolist()
        )
        held += found.low <= truth <= found.high
    assert held >= 0.95 * 300


# --- against scikit-learn -------------------------------------------------------------------------


@given(seed=SEEDS)
def test_area_and_corners_are_those_of_scikit_learn(seed: int) -> None:
    generator = np.random.default_rng(seed)
    truth = np.arange(13) < generator.integers(1, 12)
    scores = generator.integers(0, 6, 13).astype(float)  # so that some are equal
    found = detect("score", scores, truth)
    assert found is not None
    assert found.auc == pytest.approx(roc_auc_score(truth, scores))
    false, true, _ = roc_curve(truth, scores, drop_intermediate=False)
    for x, y in zip(found.false_positives, found.true_positives, strict=True):
        assert y == pytest.approx(true[false <= x + 1e-9].max())
    assert found.scores == tuple(scores)
