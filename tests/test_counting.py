"""Counting: leaks, calibration beside what was spent before, and how long an answer may take."""

from __future__ import annotations

import math

import numpy as np
import pytest
from dp_accounting.pld import privacy_loss_distribution as pld  # type: ignore[import-untyped]

from lab.accountants import ACCOUNTANTS, Accountant, Spending, calibrated, composed, deltas
from lab.settings import SettingError

LEAKY = Spending(0.1, 1.0, 40, leak=1e-7)


def explicit(spending: Spending) -> pld.PrivacyLossDistribution:
    """Privacy losses of all rounds, each with its leak as an infinite loss."""
    interval = 1e-3
    release = pld.from_gaussian_mechanism(
        spending.noise, sampling_prob=spending.rate, value_discretization_interval=interval
    )
    leak = pld.PrivacyLossDistribution.create_from_rounded_probability(
        {0: 1 - spending.leak}, spending.leak, interval
    )
    total = pld.identity(interval)
    for _ in range(spending.times):
        total = total.compose(release).compose(leak)
    return total


@pytest.mark.parametrize("delta", [5e-6, 1e-5])
def test_a_leak_counts_as_an_infinite_loss_in_each_round(delta: float) -> None:
    expected = explicit(LEAKY).get_epsilon_for_delta(delta)
    assert composed((LEAKY,), delta) == pytest.approx(expected, rel=2e-3)


def test_a_profile_of_deltas_has_the_leak_in_it() -> None:
    epsilons = np.array([0.5, 2.0, 8.0, 40.0])
    expected = explicit(LEAKY).get_delta_for_epsilon(epsilons.tolist())
    assert deltas((LEAKY,), epsilons) == pytest.approx(expected, rel=5e-3)
    assert deltas((Spending(0.1, 1.0, 40, leak=0.5),), epsilons).tolist() == [1.0] * 4


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_leaks_use_up_delta_in_every_accountant(accountant: Accountant) -> None:
    clean = Spending(0.1, 1.0, 40)
    found = composed((LEAKY,), 1e-5, accountant)
    assert (
        found == composed((clean,), 1e-5 - 4e-6, accountant) > composed((clean,), 1e-5, accountant)
    )
    assert composed((LEAKY,), 4e-6, accountant) == math.inf
    assert composed((Spending(0.1, 1.0, 10, steps=0, leak=1e-7),), 1e-5, accountant) == 0.0


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
@pytest.mark.parametrize("plan", [Spending(0.05, 1.0, 60), Spending(0.05, 1.0, 60, leak=1e-7)])
def test_noise_for_what_is_left_meets_the_target(plan: Spending, accountant: Accountant) -> None:
    before = (Spending(0.05, 1.2, 40),)
    noise = calibrated(plan, 4.0, 1e-5, accountant, before)
    together = (*before, Spending(plan.rate, noise, plan.times, leak=plan.leak))
    assert 0.999 * 4.0 <= composed(together, 1e-5, accountant) <= 4.0
    assert noise > calibrated(plan, 4.0, 1e-5, accountant)


def test_what_was_spent_before_can_leave_nothing() -> None:
    before = (Spending(0.1, 1.0, 40),)
    spent = composed(before, 1e-5)
    words = rf"^privacy.epsilon is 2 and the rounds before have spent {spent:.3g}: give more, or"
    with pytest.raises(SettingError, match=words):
        calibrated(Spending(0.1, 1.0, 40), 2.0, 1e-5, before=before)


def test_no_noise_makes_up_for_a_delta_that_leaks_use_up() -> None:
    with pytest.raises(SettingError, match=r"privacy.delta is 4e-06 .* use up 4e-06 of it"):
        calibrated(LEAKY, 2.0, 4e-6)
