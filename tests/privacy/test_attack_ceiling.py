"""The ceiling of privacy: no attack passes it, and there are some that touch it."""

from __future__ import annotations

from itertools import pairwise
from math import exp, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from lab import Experiment
from lab.engine.differential_privacy.accountant import detailed
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.membership_score import GRID
from lab.scoring.shared.roc_curve import auc, true_positives
from tests.support.membership_scores import drawn, exposed

EPSILONS = st.floats(0, 50)
DELTAS = st.floats(0, 1)


def test_without_any_epsilon_the_ceiling_is_the_diagonal() -> None:
    ceiling = AttackCeiling(epsilon=0, delta=0)
    assert ceiling.true_positives(GRID) == pytest.approx(GRID)
    assert ceiling.auc() == pytest.approx(0.5)


def test_delta_alone_lifts_the_diagonal_by_delta() -> None:
    rates = np.array([0.0, 0.3, 0.8, 0.9, 1.0])
    found = AttackCeiling(epsilon=0, delta=0.2).true_positives(rates)
    assert found == pytest.approx([0.2, 0.5, 1.0, 1.0, 1.0])


@pytest.mark.parametrize("epsilon", [30.0, 800.0])  # e^800 is more than a float can hold
def test_a_huge_epsilon_promises_nothing(epsilon: float) -> None:
    ceiling = AttackCeiling(epsilon=epsilon, delta=0)
    assert ceiling.true_positives(np.array([1e-4, 0.1, 1.0])) == pytest.approx([1, 1, 1])
    assert ceiling.auc() == pytest.approx(1.0, abs=1e-6)


@given(epsilon=EPSILONS, delta=DELTAS)
def test_the_ceiling_is_the_lower_of_two_lines(epsilon: float, delta: float) -> None:
    steep = exp(epsilon) * GRID + delta
    flat = 1 - exp(-epsilon) * (1 - delta - GRID)
    expected = np.minimum(1, np.minimum(steep, flat))
    assert AttackCeiling(epsilon=epsilon, delta=delta).true_positives(GRID) == pytest.approx(
        expected
    )


@given(epsilon=st.floats(0, 6), delta=DELTAS)
def test_the_ceiling_keeps_both_promises_of_privacy_and_uses_one_up(
    epsilon: float, delta: float
) -> None:
    """Kairouz et al. 2015, theorem 2.1, in the two kinds of error."""
    missed = 1 - AttackCeiling(epsilon=epsilon, delta=delta).true_positives(GRID)
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
    assert AttackCeiling(epsilon=epsilon, delta=delta).auc() == pytest.approx(expected, abs=1e-5)


def test_randomised_response_touches_its_ceiling_and_does_not_pass() -> None:
    """Members answer yes with chance 3/4 and others with chance 1/4: epsilon is log 3."""
    members, others = np.array([1.0, 1, 1, 0]), np.array([1.0, 0, 0, 0])
    ceiling = AttackCeiling(epsilon=log(3), delta=0)
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
    ceiling = AttackCeiling(epsilon=log(3), delta=1 / 5)
    corners = np.array([0.0, 1 / 5, 4 / 5])
    reached = true_positives(members, others, corners)
    assert reached.tolist() == [1 / 5, 4 / 5, 1.0]
    assert ceiling.true_positives(corners) == pytest.approx(reached)
    assert (true_positives(members, others, GRID) <= ceiling.true_positives(GRID) + 1e-12).all()
    assert auc(members, others) == pytest.approx(0.84)  # 1 - 0.8^2 / 4
    assert ceiling.auc() == pytest.approx(0.84, abs=1e-5)


def test_a_larger_epsilon_never_lowers_the_ceiling() -> None:
    heights = [AttackCeiling(epsilon=e, delta=0.01).true_positives(GRID) for e in (0, 0.1, 1, 3, 9)]
    for lower, higher in pairwise(heights):
        assert (higher >= lower).all()


def test_the_exposure_carries_the_area_under_the_ceiling() -> None:
    members, others = drawn(0, 20, 20)
    ceiling = AttackCeiling(epsilon=2, delta=1e-3)
    assert exposed(members, others, ceiling=ceiling).ceiling_auc == ceiling.auc()
    assert exposed(members, others).ceiling_auc is None


def test_a_profile_gives_the_gaussian_trade_off() -> None:
    """Between N(0, 1) and N(1, 1) the best test at level a finds Phi(Phi^-1(a) + 1)."""
    now = Experiment().changed({"privacy.kind": "client", "privacy.noise": 1.0})
    guarantee = detailed(now, 1)
    assert guarantee is not None
    plain = AttackCeiling(epsilon=guarantee.epsilon, delta=guarantee.delta)
    whole = AttackCeiling(
        epsilon=guarantee.epsilon, delta=guarantee.delta, profile=guarantee.profile
    )
    rates = np.array([1e-3, 0.01, 0.1, 0.5, 0.9])
    exact = norm.cdf(norm.ppf(rates) + 1.0)
    assert np.all(whole.true_positives(rates) >= exact - 1e-12)
    assert whole.true_positives(rates) == pytest.approx(exact, rel=0.01)
    assert np.any(plain.true_positives(rates) > 1.2 * exact)
    assert norm.cdf(0.5**0.5) <= whole.auc() < norm.cdf(0.5**0.5) + 0.003 < plain.auc()
