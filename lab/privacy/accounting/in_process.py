"""The arithmetic of three accountants, in the process that asks.

Spendings that come here are those that release something, each kind once: see `releases_of`.
Libraries are imported where they are used: they take most of a second, and most runs need none.
"""

from __future__ import annotations

import warnings
from functools import lru_cache
from math import inf, isfinite, log
from typing import Literal, get_args

import numpy as np

from lab.common.settings import SettingError
from lab.privacy.accounting import composition, gaussian_mechanism
from lab.privacy.accounting.releases import GaussianReleases

Accountant = Literal["pld", "rdp", "prv"]
ACCOUNTANTS: tuple[Accountant, ...] = get_args(Accountant)
NEGLIGIBLE = 0.05  # noise multiplier below which sampling is not counted
LEAST = 1e-100  # noise multiplier that can be counted
PRV_ERROR = 0.01  # of epsilon, in Opacus
PRV_POINTS = 2**21  # of its grid, at most: more do not fit into memory
PRV_MORE = 3.0  # epsilon beyond what Renyi differential privacy says, on the same grid
PRV_LEAST = 1e-300  # of what it spends
PRV_SHARE = 1e-3  # of delta, that Opacus spends on what its grid leaves out


def epsilon_of(
    spendings: tuple[GaussianReleases, ...], delta: float, accountant: Accountant
) -> float:
    """The least epsilon at `delta`.  Finite: without sampling it is known exactly, and not less.

    Raises SettingError where there is next to no noise.
    """
    plain = without_sampling(spendings, delta)
    if accountant == "rdp":
        found = by_moments(spendings, delta)
    elif accountant == "prv":
        found = by_variables(spendings, delta)
    elif is_closed(spendings):
        found = plain
    else:
        found = min(plain, composition.epsilon_of(spendings, delta))
    return found if isfinite(found) else plain


def deltas_of(spendings: tuple[GaussianReleases, ...], epsilons: np.ndarray) -> np.ndarray:
    """The least delta at each epsilon, by privacy losses.  (epsilons,) -> (epsilons,)"""
    plain = gaussian_mechanism.deltas_of(_sensitivity(spendings), epsilons)
    if is_closed(spendings):
        return plain
    return np.asarray(np.minimum(plain, composition.deltas_of(spendings, epsilons)))


def is_closed(spendings: tuple[GaussianReleases, ...]) -> bool:
    """Whether all is counted as one Gaussian mechanism, which takes no time.

    With next to no noise sampling helps next to nothing, and losses need too large a grid.
    """
    sampled = any(each.rate < 1 or each.chance < 1 for each in spendings)
    return not sampled or any(each.noise < NEGLIGIBLE for each in spendings)


def without_sampling(spendings: tuple[GaussianReleases, ...], delta: float) -> float:
    """Epsilon as if nobody were ever left out: then all is one Gaussian mechanism."""
    return gaussian_mechanism.epsilon_of(_sensitivity(spendings), delta)


def _sensitivity(spendings: tuple[GaussianReleases, ...]) -> float:
    """Of all releases together, beside the standard deviation of the noise."""
    for each in spendings:
        if each.noise < LEAST:
            raise SettingError(
                f"privacy.noise is {each.noise:g}: that is too little to count, so give "
                f"{NEGLIGIBLE:g} or more"
            )
    farthest = [each.farthest() for each in spendings]
    return float(sum(each.times * each.steps / each.noise**2 for each in farthest) ** 0.5)


def by_moments(spendings: tuple[GaussianReleases, ...], delta: float) -> float:
    """Epsilon by Renyi differential privacy.  Mironov et al. 2019, arXiv:1908.10530."""
    from absl import logging
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    logging.set_verbosity(logging.ERROR)  # it tells of every order that it leaves out
    accountant = RdpAccountant()
    for each in map(GaussianReleases.always, spendings):
        event: dp_event.DpEvent = dp_event.GaussianDpEvent(each.noise)
        if each.noise >= NEGLIGIBLE:
            event = dp_event.PoissonSampledDpEvent(min(1.0, each.rate), event)
        accountant.compose(event, each.times)
    return float(accountant.get_epsilon(delta))


@lru_cache(maxsize=256)
def by_variables(spendings: tuple[GaussianReleases, ...], delta: float) -> float:
    """Epsilon by privacy loss random variables, from Opacus; infinite where it gives up.

    The upper end of its bracket.  Gopi et al. 2021, arXiv:2106.02848.
    """
    releases = tuple(each.always() for each in spendings)
    if not _fits(releases, delta):
        return inf
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(each.noise, min(1.0, each.rate), each.times) for each in releases]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of logarithms of zero that it throws away
            return float(accountant.get_epsilon(delta, eps_error=PRV_ERROR))
    except (RuntimeError, ValueError, MemoryError):  # outside of what its grid can hold
        return inf


def _fits(releases: tuple[GaussianReleases, ...], delta: float) -> bool:
    """Whether Opacus' grid has a size that memory can hold."""
    spared = delta * PRV_SHARE
    if spared < PRV_LEAST or any(each.noise < NEGLIGIBLE for each in releases):
        return False
    count = sum(each.times for each in releases)
    step = PRV_ERROR / (count * log(12 / spared) / 2) ** 0.5
    reach = by_moments(releases, spared / 4) + PRV_MORE
    return bool(2 * reach / step <= PRV_POINTS)
