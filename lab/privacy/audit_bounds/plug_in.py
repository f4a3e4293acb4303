"""Two Gaussians through the scores. Andrew et al. 2023, arXiv:2302.03098: a point, not a bound."""

from __future__ import annotations

import numpy as np

from lab.common.settings import SettingError
from lab.privacy.audit_bounds.bound import EpsilonEstimate, checked
from lab.privacy.audit_bounds.scaled_mechanism import of_gaussian

WIDEST = 40.0  # standard deviations between two Gaussians


def plug_in(inside: np.ndarray, outside: np.ndarray, delta: float) -> EpsilonEstimate:
    """Epsilon of a Gaussian mechanism whose scores have just these means and this spread.

    Here both have one spread, as under a Gaussian mechanism; the paper lets them differ.
    Raises SettingError.
    """
    inside, outside = checked(inside, outside, delta, 0.5)
    if not (np.isfinite(inside).all() and np.isfinite(outside).all()):
        raise SettingError("scores overflow, so that they have no mean: use generic or steinke")
    spread = ((inside.var(ddof=1) + outside.var(ddof=1)) / 2) ** 0.5
    gap = max(0.0, float(inside.mean() - outside.mean()))
    mu = 0.0 if gap == 0 else WIDEST if gap >= WIDEST * spread else gap / float(spread)
    return EpsilonEstimate(
        method="Gaussian plug-in",
        epsilon=of_gaussian(mu, delta),
        delta=delta,
        inside=len(inside),
        outside=len(outside),
        assumption="scores are Gaussian, with one spread, and independent",
    )
