"""An upper bound on a chance from a count. Clopper & Pearson 1934, Biometrika 26(4)."""

from __future__ import annotations

import numpy as np


def upper(found: np.ndarray, tries: int, doubt: float) -> np.ndarray:
    """With confidence 1 - doubt, the chance is at most this.  Exact, for each count alone."""
    from scipy.special import betaincinv

    below = np.minimum(found, tries - 1)
    bounds = betaincinv(below + 1.0, np.asarray(tries - below, np.float64), 1 - doubt)
    return np.where(found >= tries, 1.0, bounds)
