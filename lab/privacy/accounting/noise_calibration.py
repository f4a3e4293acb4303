"""Calibration: the least noise that keeps to a target."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import exp, log, log1p

from lab.common.settings import SettingError
from lab.privacy.accounting.gaussian_mechanism import mu_of
from lab.privacy.accounting.in_process import Accountant, epsilon_of
from lab.privacy.accounting.releases import GaussianReleases, leaked, releases_of

TOLERANCE = 4e-4  # relative, of a calibrated noise multiplier
SHORT = 1e-3  # relative, by which epsilon at most stays below what was asked for
CLOSE = 0.02  # how far the logarithm of a noise multiplier is from a good first guess
FURTHER = 4.0  # by which a search goes further and further
FARTHEST = 30.0  # logarithm of a noise multiplier
NARROW = 1e-9  # of that logarithm: a step that small is a jump of epsilon


def noise_for(
    plan: GaussianReleases,
    epsilon: float,
    delta: float,
    accountant: Accountant,
    before: tuple[GaussianReleases, ...],
) -> float:
    """The least noise multiplier, to `TOLERANCE`, with which all keeps to epsilon at `delta`.

    plan: releases something; its own noise does not count
    before: what has been spent already, and counts as well

    Raises SettingError where no noise is enough.
    """
    left = delta - leaked((plan, *before), rare=accountant != "pld")
    if left <= 0:
        raise SettingError(
            f"privacy.delta is {delta:g} and rounds that may go wrong use up {delta - left:.3g} of "
            "it: give a larger delta"
        )
    earlier = releases_of(before)
    spent = epsilon_of(earlier, left, accountant) if earlier else 0.0
    if spent >= epsilon:
        raise SettingError(
            f"privacy.epsilon is {epsilon:g} and the rounds before have spent {spent:.3g}: give "
            "more, or set privacy.noise"
        )

    def excess(logarithm: float) -> float:
        together = releases_of((*before, replace(plan, noise=exp(logarithm))))
        return log(max(epsilon_of(together, left, accountant), epsilon * 1e-9)) - log(epsilon)

    guess = log(_about(plan, epsilon, left, spent))
    bracket = _bracketed(excess, guess)
    if bracket is None:
        raise SettingError(
            f"no noise brings {accountant} down to epsilon {epsilon:g} at delta {delta:g}: give a "
            "larger delta, or use pld"
        )
    return exp(bracket.closed(excess))


@dataclass
class Bracket:
    """Logarithms of a noise multiplier that is too small, and of one that is large enough."""

    low: float
    low_excess: float  # of the logarithm of epsilon; above 0
    high: float
    high_excess: float  # 0 or below

    def closed(self, excess: Callable[[float], float]) -> float:
        """The larger end, once both are close and epsilon is close to the target.  Secant steps."""
        while self.high - self.low > NARROW and not self._is_close():
            before = self.high - self.low
            self._put(next_one := self._next(), excess(next_one))
            if self.high - self.low > before / 2 and not self._is_close():
                self._put(middle := (self.low + self.high) / 2, excess(middle))
        return self.high

    def _is_close(self) -> bool:
        return self.high - self.low <= TOLERANCE and self.high_excess >= log1p(-SHORT)

    def _next(self) -> float:
        """Where the line between both ends crosses 0, moved to the side that is wanted next."""
        width = self.high - self.low
        fall = (self.low_excess - self.high_excess) / width
        root = self.low + self.low_excess / fall
        aside = min(TOLERANCE, SHORT / fall) / 3
        wanted = root - aside if self.high - root <= 2 * aside else root + aside
        return min(max(wanted, self.low + width / 100), self.high - width / 100)

    def _put(self, logarithm: float, excess: float) -> None:
        if excess > 0:
            self.low, self.low_excess = logarithm, excess
        else:
            self.high, self.high_excess = logarithm, excess


def _bracketed(excess: Callable[[float], float], guess: float) -> Bracket | None:
    """Two ends on either side of the target; None if there is no such noise."""
    here, found = guess, excess(guess)
    outwards = 1.0 if found > 0 else -1.0
    stride = max(CLOSE, abs(found))
    while abs(there := here + outwards * stride) < FARTHEST:
        other = excess(there)
        if (other > 0) != (found > 0):
            ends = sorted([(here, found), (there, other)])
            return Bracket(*ends[0], *ends[1])
        here, found = there, other
        stride *= FURTHER
    return None


def _about(plan: GaussianReleases, epsilon: float, delta: float, spent: float) -> float:
    """A noise multiplier not far from it, by the central limit of many small losses.

    Never a guarantee.  Dong et al. 2022, arXiv:1905.02383, corollary 5.4.
    """
    whole = mu_of(epsilon, delta) ** 2
    left = max(whole - (mu_of(spent, delta) ** 2 if spent else 0.0), 1e-9 * whole)
    releases = plan.times * plan.steps * plan.chance
    return float(log1p(left / (min(1.0, plan.rate) ** 2 * releases)) ** -0.5)
