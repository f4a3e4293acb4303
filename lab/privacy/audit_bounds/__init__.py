"""Statistics of auditing: what the scores of canaries prove about epsilon, a file each.

Each bound names its premise.  Only `steinke` assumes nothing of mechanism and scores.
No bound here is the best of several on the canaries that it counts.
"""

from collections.abc import Callable

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.bound import (
    GAUSSIAN,
    INDEPENDENT,
    NOTHING,
    EpsilonBound,
    EpsilonEstimate,
    Premise,
)
from lab.privacy.audit_bounds.f_dp import f_dp
from lab.privacy.audit_bounds.mechanism_free import generic
from lab.privacy.audit_bounds.plug_in import plug_in
from lab.privacy.audit_bounds.steinke import steinke
from lab.privacy.audit_bounds.total_errors import total_errors
from lab.privacy.audit_bounds.trade_off import trade_off

# (inside, outside, claim, delta, confidence) -> Bound
Method = Callable[
    [np.ndarray, np.ndarray, tuple[GaussianReleases, ...], float, float], EpsilonBound
]
METHODS: dict[str, Method] = {
    "trade-off": trade_off,  # at 95 % it errs in less than 1 % of runs
    "total-errors": total_errors,  # tighter, and errs as often as its confidence allows
    "f-dp": f_dp,
    "steinke": steinke,
    "generic": generic,
}
FAMILY = ("trade-off", "total-errors", "f-dp")  # only of a Gaussian mechanism, sampled as claimed

__all__ = [
    "FAMILY",
    "GAUSSIAN",
    "INDEPENDENT",
    "METHODS",
    "NOTHING",
    "EpsilonBound",
    "EpsilonEstimate",
    "Method",
    "Premise",
    "f_dp",
    "generic",
    "plug_in",
    "steinke",
    "total_errors",
    "trade_off",
]
