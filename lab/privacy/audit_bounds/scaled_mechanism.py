"""The mechanism that is claimed, with more noise or less: which noise is enough to explain scores.

The idea is Nasr et al.'s (2023, arXiv:2302.07956): what was seen excludes a noise multiplier, and
all larger ones, when its trade-off curve lies above.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from math import erf, exp, expm1, log

import numpy as np

from lab.common.settings import SettingError
from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.privacy_losses import HIGHEST, PrivacyLossDistribution, losses

ASSUMPTION = (
    "the releases are those of a Gaussian mechanism, sampled as claimed, and only the amount of "
    "noise is in doubt; canaries were put in at random and their scores are independent"
)
LEAST = 0.1  # noise multiplier that is tried
NEAR = 0.1  # how far the logarithm of a noise usually is from where the search begins
EXACT = 2e-4  # of that logarithm


def released(claim: tuple[GaussianReleases, ...]) -> tuple[GaussianReleases, ...]:
    """What there is to scale; none where all is one Gaussian mechanism.  Raises SettingError."""
    active = tuple(each for each in claim if each.times and each.steps and each.chance > 0)
    for each in active:
        if not each.noise > 0 or not 0 < each.rate <= 1:
            raise SettingError(
                f"claim holds noise {each.noise:g} at rate {each.rate:g}: a Gaussian mechanism is "
                "needed, so give generic or steinke, which assume none"
            )
    return active if any(each.rate < 1 or each.chance < 1 for each in active) else ()


def least_epsilon(
    claim: tuple[GaussianReleases, ...],
    delta: float,
    mu: float,
    beside: Callable[[PrivacyLossDistribution], float],
) -> float:
    """Epsilon of the largest noise that explains what was seen, all releases scaled alike.

    mu: of a single Gaussian that does
    beside: how far the scores may lie apart under some losses, less how far they do
    """
    active = released(claim)
    if mu <= 0:
        return 0.0
    if not active:
        return of_gaussian(mu, delta)

    from scipy.optimize import brentq

    def slack(logarithm: float) -> float:
        return float(np.clip(beside(losses(_scaled(active, logarithm))), -1e3, 1e3))

    floor = log(LEAST / min(each.noise for each in active))
    low = high = max(_about(active, mu), floor)
    stride = NEAR
    while slack(high) > 0:
        high, stride = high + stride, 2 * stride
    stride = NEAR
    while low > floor and slack(low) <= 0:
        low, stride = max(floor, low - stride), 2 * stride
    # At the floor nothing in the family explains the scores: its noise is then as good as none.
    root = brentq(slack, low, high, xtol=EXACT / 2) if slack(low) > 0 else floor
    return losses(_scaled(active, root + EXACT / 2)).epsilon(delta)


def of_gaussian(mu: float, delta: float) -> float:
    """Dong et al. 2022, arXiv:1905.02383, corollary 2.13."""
    from dp_accounting import gaussian_mechanism

    if erf(mu / 8**0.5) <= delta:  # epsilon 0 holds
        return 0.0
    with np.errstate(divide="ignore"):  # of a difference that is none, in a logarithm
        return min(HIGHEST, float(gaussian_mechanism.get_epsilon_gaussian(1 / mu, delta)))


def _scaled(claim: tuple[GaussianReleases, ...], logarithm: float) -> tuple[GaussianReleases, ...]:
    return tuple(replace(each, noise=each.noise * exp(logarithm)) for each in claim)


def _about(claim: tuple[GaussianReleases, ...], mu: float) -> float:
    """Where the search begins: by the central limit, Dong et al. 2022, corollary 5.4."""
    from scipy.optimize import brentq

    def excess(logarithm: float) -> float:
        powers = (min((each.noise * exp(logarithm)) ** -2, 50.0) for each in claim)
        parts = (
            each.times * each.steps * each.chance * each.rate**2 * expm1(power)
            for each, power in zip(claim, powers, strict=True)
        )
        return log(sum(parts)) - 2 * log(mu)

    if excess(-8.0) <= 0:
        return -8.0
    return float(brentq(excess, -8.0, 30.0))
