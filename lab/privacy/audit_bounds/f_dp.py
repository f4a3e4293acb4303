"""One run, by f-DP. Mahloujifar, Melis & Chaudhuri 2024, arXiv:2410.22235.

A whole trade-off curve says more of what many right guesses cost than epsilon and delta do.  The
recursion is the paper's with abstention, for two choices, as JAX Privacy has it, too.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.bound import GAUSSIAN, EpsilonBound, checked
from lab.privacy.audit_bounds.guesses import Guesses, guesses
from lab.privacy.audit_bounds.privacy_losses import PrivacyLossDistribution
from lab.privacy.audit_bounds.scaled_mechanism import least_epsilon

ASSUMPTION = (
    "the releases are those of a Gaussian mechanism, sampled as claimed, and only the amount of "
    "noise is in doubt; each canary was put in by the toss of a fair coin of its own"
)
ROOTS = 2.5  # good for 300 to 5,000 canaries of Gaussian mechanisms, epsilon 1 to 8
WIDEST = 40.0  # standard deviations between two Gaussians


def f_dp(
    inside: np.ndarray,
    outside: np.ndarray,
    claim: tuple[GaussianReleases, ...],
    delta: float,
    confidence: float = 0.95,
) -> EpsilonBound:
    """Of the mechanism that is claimed, but with any noise.  Raises SettingError.

    inside, outside: scores of canaries, which need not be independent; higher is more like in
    claim: the releases so far; none stands for a single one on everybody
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, ndtri

    inside, outside = checked(inside, outside, delta, confidence)
    found, doubt = guesses(inside, outside, ROOTS), 1 - confidence

    def gaussian(mu: float) -> float:
        return slack(found, doubt, lambda caught: float(ndtr(ndtri(caught) - mu)))

    def beside(losses: PrivacyLossDistribution) -> float:
        return slack(found, doubt, _least_alarms(losses))

    mu = 0.0
    if gaussian(1e-6) < 0:
        mu = float(brentq(gaussian, 1e-6, WIDEST, xtol=1e-4))
    return EpsilonBound(
        method="one run, f-DP",
        epsilon=least_epsilon(claim, delta, mu, beside),
        delta=delta,
        confidence=confidence,
        inside=len(inside),
        outside=len(outside),
        premise=GAUSSIAN,
        assumption=ASSUMPTION,
        evidence=found.sentence(),
    )


def slack(found: Guesses, doubt: float, least_alarms: Callable[[float], float]) -> float:
    """How far a trade-off curve is from being excluded; below zero it is.

    least_alarms: the least chance of a false alarm, where canaries are caught with that chance
    """
    right = doubt * found.right / found.canaries  # r in the paper
    wrong = doubt * (found.made - found.right) / found.canaries  # h
    for fewer in range(found.right - 1, -1, -1):
        more = max(wrong, least_alarms(right))
        if more == wrong:
            break  # nothing changes any more
        right = min(1.0, right + fewer / (found.made - fewer) * (more - wrong))
        wrong = more
    return found.made / found.canaries - right - wrong


def _least_alarms(losses: PrivacyLossDistribution) -> Callable[[float], float]:
    """For guesses of either kind: a canary that is out may be the easier one to tell."""
    alarms, caught = losses.curve()
    back = 1 - caught[::-1], 1 - alarms[::-1]  # the same curve, where out is the sign sought

    def least(chance: float) -> float:
        return min(
            float(np.interp(chance, caught, alarms)), float(np.interp(chance, back[1], back[0]))
        )

    return least
