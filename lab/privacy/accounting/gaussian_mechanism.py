"""One Gaussian mechanism, known exactly.  Balle and Wang 2018, arXiv:1805.06530, theorem 8.

`mu` is the sensitivity over the standard deviation of the noise.  Delta at epsilon is
`phi(t) * (mills(t) - mills(t + mu))`, with `t = epsilon / mu - mu / 2`, phi the standard normal
density, and mills(t) its upper tail over its density.
"""

from __future__ import annotations

from math import exp, isinf, log, pi, sqrt

import numpy as np

SMALL = 1e-5  # a mu below which Mills' ratio hardly changes over it
LEAST = 5e-324  # the least number above 0


def epsilon_of(mu: float, delta: float) -> float:
    """The least epsilon at a delta between 0 and 1.  Finite, and no warning, for a mu to 1e150."""
    from scipy.optimize import brentq
    from scipy.special import ndtri

    def excess(t: float) -> float:
        return _log_delta(t, mu) - log(delta)

    low = -mu / 2
    high = max(low, -float(ndtri(delta)))  # here the first term alone is delta
    if mu == 0 or excess(low) <= 0:
        return 0.0
    if excess(high) < 0:
        high = brentq(excess, low, high, xtol=1e-13, rtol=1e-13)
    return float(max(0.0, mu * (mu / 2 + high)))


def mu_of(epsilon: float, delta: float) -> float:
    """The mu that has that epsilon above 0 at a delta between 0 and 1."""
    from scipy.optimize import brentq

    def excess(logarithm: float) -> float:
        mu = exp(logarithm)
        return _log_delta(epsilon / mu - mu / 2, mu) - log(delta)

    low = high = log(epsilon) - 1
    while excess(low) > 0:
        low -= 1
    while excess(high) < 0:
        high += 1
    return exp(brentq(excess, low, high, xtol=1e-13))


def deltas_of(mu: float, epsilons: np.ndarray) -> np.ndarray:
    """The delta at each epsilon.  (epsilons,) -> (epsilons,)"""
    if mu == 0:
        return np.zeros(len(epsilons))
    return np.array([exp(_log_delta(epsilon / mu - mu / 2, mu)) for epsilon in epsilons.tolist()])


def _log_delta(t: float, mu: float) -> float:
    """The logarithm of delta; where rounding matters, of a little more."""
    from scipy.special import log_ndtr

    share = _gained(t, mu)
    return float(log_ndtr(-t)) + (log(share) if share > 0 else log(LEAST))


def _gained(t: float, mu: float) -> float:
    """The share of Mills' ratio at t that is gone at t + mu."""
    from scipy.special import erfcx

    here = float(erfcx(t / sqrt(2)))
    if isinf(here):
        return 1.0
    if mu < SMALL:  # the ratio is convex: it falls at most as fast as at its beginning
        return mu * max(0.0, sqrt(2 / pi) / here - t)
    return 1 - float(erfcx((t + mu) / sqrt(2))) / here
