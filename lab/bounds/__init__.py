"""Statistics of auditing: what the scores of canaries prove about epsilon, a file each.

Each bound names its premise.  Only `steinke` assumes nothing of mechanism and scores.
No bound here is the best of several on the canaries that it counts.
"""

from collections.abc import Callable

import numpy as np

from lab.accountants import Spending
from lab.bounds.bound import GAUSSIAN, INDEPENDENT, NOTHING, Bound, Estimate, Premise
from lab.bounds.f_dp import f_dp
from lab.bounds.generic import generic
from lab.bounds.plug_in import plug_in
from lab.bounds.steinke import steinke
from lab.bounds.total_errors import total_errors
from lab.bounds.trade_off import trade_off

# (inside, outside, claim, delta, confidence) -> Bound
Method = Callable[[np.ndarray, np.ndarray, tuple[Spending, ...], float, float], Bound]
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
    "Bound",
    "Estimate",
    "Method",
    "Premise",
    "f_dp",
    "generic",
    "plug_in",
    "steinke",
    "total_errors",
    "trade_off",
]
