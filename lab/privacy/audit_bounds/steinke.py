"""One run, many guesses. Steinke, Nasr & Jagielski 2023, arXiv:2305.08846, theorem 5.2."""

from __future__ import annotations

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.bound import NOTHING, EpsilonBound, checked
from lab.privacy.audit_bounds.guesses import Guesses, guesses
from lab.privacy.audit_bounds.privacy_losses import HIGHEST

ASSUMPTION = (
    "nothing of the mechanism, nor that scores are independent; each canary was put in by the toss "
    "of a fair coin of its own"
)
ROOTS = 1.25  # good for 300 to 5,000 canaries of Gaussian mechanisms, epsilon 1 to 8


def steinke(
    inside: np.ndarray,
    outside: np.ndarray,
    claim: tuple[GaussianReleases, ...],
    delta: float,
    confidence: float = 0.95,
) -> EpsilonBound:
    """Whatever the mechanism is, so `claim` is not looked at.  Raises SettingError.

    inside, outside: scores of canaries; higher is more like one that was in
    """
    from scipy.optimize import brentq

    inside, outside = checked(inside, outside, delta, confidence)
    found, doubt = guesses(inside, outside, ROOTS), 1 - confidence

    def excess(epsilon: float) -> float:
        return chance(found, epsilon, delta) - doubt

    certain = excess(0.0) < 0
    return EpsilonBound(
        method="one run of guesses",
        epsilon=float(brentq(excess, 0.0, HIGHEST, xtol=1e-4)) if certain else 0.0,
        delta=delta,
        confidence=confidence,
        inside=len(inside),
        outside=len(outside),
        premise=NOTHING,
        assumption=ASSUMPTION,
        evidence=found.sentence(),
    )


def chance(found: Guesses, epsilon: float, delta: float) -> float:
    """At most how likely so many right guesses are, if epsilon and delta hold."""
    from scipy.special import bdtrc, expit

    if found.right == 0:
        return 1.0
    accuracy = expit(epsilon)  # of randomized response
    fewer = np.arange(found.right + 1)  # guesses that delta may have given away
    tails = bdtrc(found.right - fewer - 1.0, found.made, accuracy)  # P[as many right, or more]
    tails = np.where(fewer == found.right, 1.0, tails)
    steepest = ((tails[1:] - tails[0]) / fewer[1:]).max()
    return float(min(1.0, tails[0] + 2 * found.canaries * delta * steepest))
