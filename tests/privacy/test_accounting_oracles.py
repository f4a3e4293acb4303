"""Counting: leaks, calibration beside what was spent before, and answers for any finite settings.

Findings C4 and C5 of the review of soundness: next to no noise, small deltas, many stretches.
"""

from __future__ import annotations

import math
from functools import reduce

import numpy as np
import pytest
from dp_accounting import gaussian_mechanism as their_gaussian  # type: ignore[import-untyped]
from dp_accounting.pld import privacy_loss_distribution as pld  # type: ignore[import-untyped]

from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import detailed, spent
from lab.experiment.experiment import Experiment
from lab.privacy.accounting import composition, gaussian_mechanism
from lab.privacy.accounting.accountants import (
    ACCOUNTANTS,
    TOLERANCE,
    Accountant,
    GaussianReleases,
    Question,
    calibrate_noise,
    compose_epsilon,
    privacy_profile,
)
from lab.privacy.accounting.in_process import without_sampling
from lab.privacy.accounting.noise_calibration import SHORT
from lab.privacy.sampling_bounds import cohort_at_least

LEAKY = GaussianReleases(0.1, 1.0, 40, leak=1e-7)
TWENTY = tuple(GaussianReleases(0.1, 1 + place / 50, 10) for place in range(20))


def by_another(
    spendings: tuple[GaussianReleases, ...], interval: float, pessimistic: bool = True
) -> pld.PrivacyLossDistribution:
    """Privacy losses by dp-accounting, each leak an infinite loss."""
    parts = []
    for each in spendings:
        release = pld.from_gaussian_mechanism(
            each.noise,
            sampling_prob=each.rate,
            value_discretization_interval=interval,
            pessimistic_estimate=pessimistic,
        )
        round = release.self_compose(each.steps)
        if each.chance < 1:
            round = round.compute_mixture(pld.identity(interval, pessimistic), each.chance)
        if each.leak:
            leak = pld.PrivacyLossDistribution.create_from_rounded_probability(
                {0: 1 - each.leak}, each.leak, interval
            )
            round = round.compose(leak)
        parts.append(round.self_compose(each.times))
    return reduce(lambda one, other: one.compose(other), parts)


@pytest.mark.parametrize("delta", [5e-6, 1e-5])
def test_a_leak_counts_as_an_infinite_loss_in_each_round(delta: float) -> None:
    expected = by_another((LEAKY,), 1e-3).get_epsilon_for_delta(delta)
    assert compose_epsilon((LEAKY,), delta) == pytest.approx(expected, rel=2e-3)


def test_a_profile_of_deltas_has_the_leak_in_it() -> None:
    epsilons = np.array([0.5, 2.0, 8.0, 40.0])
    expected = by_another((LEAKY,), 1e-3).get_delta_for_epsilon(epsilons.tolist())
    assert privacy_profile((LEAKY,), epsilons) == pytest.approx(expected, rel=5e-3)
    assert (
        privacy_profile((GaussianReleases(0.1, 1.0, 40, leak=0.5),), epsilons).tolist() == [1.0] * 4
    )


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_leaks_use_up_delta_in_every_accountant(accountant: Accountant) -> None:
    clean = GaussianReleases(0.1, 1.0, 40)
    found = compose_epsilon((LEAKY,), 1e-5, accountant)
    assert found == compose_epsilon((clean,), 1e-5 - 4e-6, accountant)
    assert found > compose_epsilon((clean,), 1e-5, accountant)
    assert compose_epsilon((LEAKY,), 4e-6, accountant) == math.inf
    assert (
        compose_epsilon((GaussianReleases(0.1, 1.0, 10, steps=0, leak=1e-7),), 1e-5, accountant)
        == 0.0
    )


@pytest.mark.parametrize(
    ("leak", "accountant"),
    [(0.0, "pld"), (1e-7, "pld"), (1e-7, "rdp"), pytest.param(0.0, "prv", marks=pytest.mark.deep)],
)
def test_noise_for_what_is_left_meets_the_target(leak: float, accountant: Accountant) -> None:
    before = (GaussianReleases(0.05, 1.2, 40),)
    plan = GaussianReleases(0.05, 1.0, 60, leak=leak)
    noise = calibrate_noise(plan, 4.0, 1e-5, accountant, before)
    together = (*before, GaussianReleases(plan.rate, noise, plan.times, leak=leak))
    assert 0.999 * 4.0 <= compose_epsilon(together, 1e-5, accountant) <= 4.0
    less = (
        *before,
        GaussianReleases(plan.rate, noise * (1 - 2 * TOLERANCE), plan.times, leak=leak),
    )
    assert compose_epsilon(less, 1e-5, accountant) > 4.0


@pytest.mark.parametrize(
    ("rate", "times", "delta", "epsilon"),
    [
        (1e-3, 20_000, 1e-5, 1.0),  # epsilon falls with the sixth power of the noise
        (0.5, 30, 1e-3, 100.0),
        (0.2, 10, 1e-12, 1e-3),
        (1.0, 20, 1e-2, 2.0),
    ],
)
def test_a_target_is_met_within_a_thousandth_and_never_exceeded(
    rate: float, times: int, delta: float, epsilon: float
) -> None:
    noise = calibrate_noise(GaussianReleases(rate, 1.0, times), epsilon, delta)
    reached = compose_epsilon((GaussianReleases(rate, noise, times),), delta)
    assert epsilon * (1 - SHORT) <= reached <= epsilon
    less = GaussianReleases(rate, noise * (1 - 2 * TOLERANCE), times)
    assert compose_epsilon((less,), delta) > epsilon


def test_what_was_spent_before_can_leave_nothing() -> None:
    before = (GaussianReleases(0.1, 1.0, 40),)
    spent = compose_epsilon(before, 1e-5)
    words = rf"^privacy.epsilon is 2 and the rounds before have spent {spent:.3g}: give more, or"
    with pytest.raises(SettingError, match=words):
        calibrate_noise(GaussianReleases(0.1, 1.0, 40), 2.0, 1e-5, before=before)


def test_a_sliver_that_is_left_can_still_be_used() -> None:
    before = (GaussianReleases(0.1, 1.0, 40),)
    epsilon = compose_epsilon(before, 1e-5) * 1.0001
    noise = calibrate_noise(GaussianReleases(0.1, 1.0, 40), epsilon, 1e-5, before=before)
    assert compose_epsilon((*before, GaussianReleases(0.1, noise, 40)), 1e-5) <= epsilon
    assert noise > 20


def test_no_noise_makes_up_for_a_delta_that_leaks_use_up() -> None:
    with pytest.raises(SettingError, match=r"privacy.delta is 4e-06 .* use up 4e-06 of it"):
        calibrate_noise(LEAKY, 2.0, 4e-6)


@pytest.mark.parametrize(
    "spendings",
    [
        (GaussianReleases(0.02, 0.8, 300),),
        pytest.param((GaussianReleases(0.3, 0.4, 20),), marks=pytest.mark.deep),
        (
            GaussianReleases(0.1, 1.0, 30, 10, 0.2),
            GaussianReleases(0.01, 0.6, 200),
            GaussianReleases(1.0, 5.0, 10),
        ),
    ],
)
def test_losses_compose_as_in_another_library(spendings: tuple[GaussianReleases, ...]) -> None:
    """Not above a grid as fine by more than rounding, and never below what is optimistic."""
    found = compose_epsilon(spendings, 1e-6)
    above = by_another(spendings, 5e-4).get_epsilon_for_delta(1e-6)
    below = by_another(spendings, 5e-4, pessimistic=False).get_epsilon_for_delta(1e-6)
    assert below < found < above * 1.0003
    epsilons = np.linspace(0, 1.2 * found, 9)
    profile = by_another(spendings, 5e-4).get_delta_for_epsilon(epsilons.tolist())
    assert privacy_profile(spendings, epsilons) == pytest.approx(profile, rel=0.01)


@pytest.mark.parametrize("delta", [0.1, 1e-5, 1e-12, 1e-40, 1e-200])
@pytest.mark.parametrize(("noise", "times"), [(10.0, 100), (1.0, 5), (0.3, 1), (0.06, 10)])
def test_composition_is_exact_however_small_delta_is(
    noise: float, times: int, delta: float
) -> None:
    """Without sampling all is one Gaussian mechanism, and that is known."""
    found = composition.epsilon_of((GaussianReleases(1.0, noise, times),), delta)
    exact = gaussian_mechanism.epsilon_of(times**0.5 / noise, delta)
    assert 1 <= found / exact < 1.0002


@pytest.mark.parametrize("delta", [0.3, 1e-5, 1e-12])
@pytest.mark.parametrize("noise", [0.05, 1.0, 30.0])
def test_one_gaussian_is_what_another_library_says(noise: float, delta: float) -> None:
    with np.errstate(divide="ignore"):
        expected = their_gaussian.get_epsilon_gaussian(noise, delta)
    assert gaussian_mechanism.epsilon_of(1 / noise, delta) == pytest.approx(expected, rel=1e-8)
    if expected > 0:
        assert gaussian_mechanism.mu_of(expected, delta) == pytest.approx(1 / noise, rel=1e-8)
        known = gaussian_mechanism.deltas_of(1 / noise, np.array([expected]))
        assert known == pytest.approx([delta], rel=1e-7)


@pytest.mark.parametrize("noise", [1e-90, 1e-6, 1e-3, 0.0499])
def test_with_next_to_no_noise_sampling_does_not_count(noise: float) -> None:
    """Numpy was asked for 3.64 TiB."""
    spendings = (GaussianReleases(0.1, noise, 500), GaussianReleases(0.1, 1.0, 30))
    mu = (500 / noise**2 + 30) ** 0.5
    assert compose_epsilon(spendings, 1e-5) == pytest.approx(mu**2 / 2 + 4.264890794 * mu, rel=1e-3)
    assert privacy_profile(spendings, np.array([0.0, mu**2 / 2])) == pytest.approx(
        [1.0, 0.5], rel=0.02
    )


def test_no_noise_at_all_is_refused_in_words() -> None:
    with pytest.raises(SettingError, match=r"privacy.noise is 1e-200: .* give 0.05 or more"):
        compose_epsilon((GaussianReleases(0.1, 1e-200, 5),), 1e-5)


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
@pytest.mark.parametrize(
    ("rate", "noise", "times", "delta"),
    [
        (0.1, 0.2, 500, 1e-3),  # e^loss overflows
        (0.1, 1.0, 5000, 1e-12),
        (0.1, 1.0, 30, 1e-300),
        (0.5, 3.0, 30, 5e-324),
        (1e-9, 1.0, 10**6, 1e-6),
        (1e-4, 0.1, 10, 1e-5),
        (0.1, 1e-6, 30, 1e-5),
        (1e-3, 1e6, 30, 0.999999),
        (0.5, 0.05, 10**7, 1e-5),
    ],
)
def test_epsilon_is_finite_and_not_above_that_without_sampling(
    rate: float, noise: float, times: int, delta: float, accountant: Accountant
) -> None:
    spendings = (GaussianReleases(rate, noise, times),)
    found = compose_epsilon(spendings, delta, accountant)
    assert 0 <= found < math.inf
    if accountant == "pld":
        assert found <= without_sampling(spendings, delta)


@pytest.mark.parametrize("delta", [1e-12, 1e-15, 1e-30])
def test_sampling_counts_at_small_deltas_too(delta: float) -> None:
    spendings = (GaussianReleases(0.01, 1.0, 5000),)
    assert compose_epsilon(spendings, delta) < 0.1 * without_sampling(spendings, delta)
    assert compose_epsilon(spendings, delta) < compose_epsilon(spendings, delta, "rdp")


@pytest.mark.parametrize(
    "settings",
    [
        {"privacy.noise": 1e-6},
        {"privacy.noise": 1.0, "privacy.delta": 1e-15},
        {"privacy.epsilon": 0.01, "privacy.delta": 1e-300},
        {"privacy.noise": 1e-3, "privacy.sampling": "fixed"},
        {"privacy.noise": 1e-3, "privacy.sampling": "fixed", "privacy.kind": "example"},
    ],
)
def test_a_guarantee_never_fails_for_finite_settings(settings: dict[str, object]) -> None:
    usual = {"data.clients": 100, "training.clients_per_round": 10, "privacy.kind": "client"}
    experiment = Experiment().changed(usual | settings)
    for accountant in ACCOUNTANTS:
        found = spent(experiment, 30, accountant=accountant)
        assert found is not None
        assert math.isfinite(found.epsilon)
    assert detailed(experiment, 30) is not None
    if "privacy.epsilon" in settings:
        assert found.epsilon == pytest.approx(0.01, rel=0.3)


@pytest.mark.parametrize("accountant", ACCOUNTANTS)
def test_a_question_has_a_finite_answer_or_is_refused_in_words(accountant: Accountant) -> None:
    asked = {"rate": 0.1, "steps": 500, "accountant": accountant}
    name, noise = Question.read(asked | {"epsilon": 2.0, "delta": 1e-12}).answer()
    assert name == "noise"
    assert 1 < noise < 20
    extreme = Question.read(asked | {"noise": 0.05, "delta": 1e-5})
    if accountant == "prv":
        with pytest.raises(SettingError, match=r"noise is 0.05, too little for prv"):
            extreme.answer()
    else:
        assert 1e4 < extreme.answer()[1] < 1e6


def test_twenty_different_stretches_are_as_tight_as_one() -> None:
    fine = by_another(TWENTY, 1e-3).get_epsilon_for_delta(1e-5)
    assert -0.0005 * fine < compose_epsilon(TWENTY, 1e-5) - fine < 0.0005 * fine


def test_stretches_that_are_alike_are_counted_as_one() -> None:
    apart = tuple(GaussianReleases(0.1, 1.0 + place % 2, 10) for place in range(20))
    merged = (GaussianReleases(0.1, 1.0, 100), GaussianReleases(0.1, 2.0, 100))
    assert compose_epsilon(apart, 1e-5) == compose_epsilon(merged, 1e-5)


def test_a_bound_from_below_stays_below_what_is_exact_at_large_losses() -> None:
    """Above 709, where e^-epsilon is no number any more, the bound was too high."""
    exact = gaussian_mechanism.epsilon_of(2000**0.5, 1e-5)
    assert 0.999 * exact < cohort_at_least(1.0, 1.0, 2000, 1e-5) < exact
