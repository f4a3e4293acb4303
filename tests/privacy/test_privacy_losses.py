"""Trade-off curves of sampled mechanisms, and the noise that explains what was seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lab.common.settings import SettingError
from lab.privacy.accounting.accountants import GaussianReleases, calibrate_noise, compose_epsilon
from lab.privacy.audit_bounds import METHODS, trade_off
from lab.privacy.audit_bounds.privacy_losses import losses
from tests.support.canary_scores import DELTA, gaussian, sampled

ALARMS = np.array([1e-3, 0.01, 0.1, 0.4, 0.8])
SAMPLED = GaussianReleases(0.2, 1.5, 10)


# --- curves -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "noise"), [(0.1, 0.8), (0.5, 2.0), (0.01, 0.4), (1.0, 1.0)])
def test_one_release_has_the_errors_of_a_threshold_on_the_noisy_sum(
    rate: float, noise: float
) -> None:
    """Neyman and Pearson: the loss rises with the sum."""
    found, limits = losses((GaussianReleases(rate, noise, 1),)), norm.isf(ALARMS)
    missed = (1 - rate) * norm.cdf(limits) + rate * norm.cdf(limits - 1 / noise)
    assert [found.missed(each) for each in ALARMS] == pytest.approx(missed, abs=2e-3)
    assert (np.array([found.missed(each) for each in ALARMS]) <= missed + 1e-9).all()


def test_releases_on_everybody_are_one_gaussian() -> None:
    found = losses(
        (GaussianReleases(1.0, 5.0, 16), GaussianReleases(1.0, 5.0, 3, 3))
    )  # mu is 5 / 5
    expected = norm.cdf(norm.isf(ALARMS) - 1)
    assert [found.missed(each) for each in ALARMS] == pytest.approx(expected, abs=5e-4)
    assert found.wrong(0.5) == pytest.approx(norm.cdf(-0.5), abs=5e-4)


def test_wrong_answers_are_the_fewest_along_the_curve() -> None:
    found, alarms = losses((SAMPLED,)), np.linspace(0, 1, 4001)
    missed = np.array([found.missed(each) for each in alarms])
    for share in (0.2, 0.5, 0.7):
        fewest = (share * missed + (1 - share) * alarms).min()
        assert found.wrong(share) == pytest.approx(fewest, abs=1e-5)


@pytest.mark.parametrize(
    "claim",
    [
        (GaussianReleases(0.1, 1.0, 50),),
        (GaussianReleases(0.01, 0.7, 400),),
        (GaussianReleases(0.3, 20.0, 10),),
        (GaussianReleases(0.1, 1.0, 20, 10, 0.1),),
        (GaussianReleases(0.1, 1.0, 20), GaussianReleases(0.05, 0.7, 30)),
    ],
)
def test_epsilon_is_the_accountants(claim: tuple[GaussianReleases, ...]) -> None:
    assert losses(claim).epsilon(DELTA) == pytest.approx(compose_epsilon(claim, DELTA), rel=1e-3)


# --- noise that explains what was seen ----------------------------------------------------------


@pytest.mark.parametrize("name", ["trade-off", "total-errors"])
def test_everybody_in_each_round_is_as_one_release(name: str) -> None:
    scores = gaussian(2.0, 2000, 0)
    whole = METHODS[name](*scores, (GaussianReleases(1.0, 3.0, 7),), DELTA, 0.95)
    assert whole.epsilon == METHODS[name](*scores, (), DELTA, 0.95).epsilon


def test_the_amount_of_noise_that_was_claimed_does_not_matter() -> None:
    scores = sampled(SAMPLED.rate, SAMPLED.noise, SAMPLED.times, 2000, 1)
    found = [
        trade_off(*scores, (GaussianReleases(SAMPLED.rate, noise, SAMPLED.times),), DELTA).epsilon
        for noise in (0.5, SAMPLED.noise, 10.0)
    ]
    assert found == pytest.approx([found[1]] * 3, rel=2e-3)


@pytest.mark.parametrize("name", ["trade-off", "total-errors"])
def test_half_the_noise_is_caught_and_the_right_noise_is_not(name: str) -> None:
    noise = calibrate_noise(GaussianReleases(0.1, 1.0, 20), 4.0, DELTA)
    claim = (GaussianReleases(0.1, noise, 20),)
    for seed in range(5):
        right = METHODS[name](*sampled(0.1, noise, 20, 4000, seed), claim, DELTA, 0.99)
        half = METHODS[name](*sampled(0.1, noise / 2, 20, 4000, seed), claim, DELTA, 0.99)
        assert not right.breaks(4.0)
        assert half.breaks(4.0)


def test_a_canary_that_is_always_there_is_caught() -> None:
    claim = (GaussianReleases(0.05, 0.6, 10),)
    generator = np.random.default_rng(0)
    outside = generator.normal(size=(2000, 10)) * 0.6
    inside = generator.normal(size=(2000, 10)) * 0.6 + 1
    found = trade_off(inside.sum(axis=1), outside.sum(axis=1), claim, DELTA)
    assert found.breaks(compose_epsilon(claim, DELTA))


def test_what_no_noise_explains_breaks_any_claim() -> None:
    """Sampled one time in twenty, and yet told apart without a single error."""
    found = trade_off(np.ones(500), np.zeros(500), (GaussianReleases(0.05, 1.0, 1),), DELTA)
    assert found.epsilon > 40


def test_no_noise_at_all_is_no_gaussian_mechanism() -> None:
    with pytest.raises(SettingError, match=r"claim holds noise 0 at rate 0\.5"):
        trade_off(np.ones(50), np.zeros(50), (GaussianReleases(0.5, 0.0, 3),), DELTA)


def test_nothing_released_is_as_no_claim() -> None:
    scores = gaussian(4.0, 500, 0)
    nothing = trade_off(*scores, (GaussianReleases(0.5, 1.0, 0),), DELTA)
    assert nothing == trade_off(*scores, (), DELTA)
