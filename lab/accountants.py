"""Accountants: what releases of a Gaussian mechanism on Poisson samples guarantee together.

Three ways to count the same.  Privacy loss distributions are tight (Doroshenko et al. 2022,
arXiv:2207.04380, rounded pessimistically), and what the lab states.  Renyi differential privacy
(Mironov et al. 2019, arXiv:1908.10530) is looser and older; PRV (Gopi et al. 2021,
arXiv:2106.02848, the upper end of its bracket) comes from another library.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import lru_cache, reduce
from math import exp, expm1, isfinite, log
from typing import Any, Literal, Self, get_args

from pydantic import Field, model_validator

from lab.settings import SettingError, Settings

Accountant = Literal["pld", "rdp", "prv"]
ACCOUNTANTS: tuple[Accountant, ...] = get_args(Accountant)
GRID = 2e-3  # of privacy losses, at most
FINE = 0.07  # of a loss's standard deviation, at most: within 0.05 % of tight values, and live
COARSER = 0.3  # a noise multiplier below which losses are large, and so is the grid
TOLERANCE = 2e-4  # relative, of a calibrated noise multiplier


@dataclass(frozen=True)
class Spending:
    """`times` releases of a Gaussian mechanism on a Poisson sample."""

    rate: float
    noise: float
    times: int


class Question(Settings):
    """What a user may ask an accountant: epsilon for some noise, or noise for an epsilon."""

    rate: float = Field(gt=0, le=1)
    steps: int = Field(ge=1, le=10_000_000)
    delta: float = Field(gt=0, lt=1)
    noise: float | None = Field(None, ge=0.05, le=1e6)
    epsilon: float | None = Field(None, ge=1e-3, le=1000)
    accountant: Accountant = "pld"

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if (self.noise is None) == (self.epsilon is None):
            raise SettingError("give either noise, to learn epsilon, or epsilon, to learn noise")
        return self

    def answer(self) -> tuple[str, float]:
        """The name of what was asked for, and its value.  Raises SettingError."""
        if self.epsilon is not None:
            noise = calibrated(self.rate, self.steps, self.epsilon, self.delta, self.accountant)
            return "noise", noise
        assert self.noise is not None
        spending = Spending(self.rate, self.noise, self.steps)
        found = composed((spending,), self.delta, self.accountant)
        if not isfinite(found):
            raise SettingError(
                f"noise is {self.noise:g}, too little for {self.accountant} to count so many "
                "releases: give more noise, or use pld"
            )
        return "epsilon", found


@lru_cache(maxsize=4096)
def composed(
    spendings: tuple[Spending, ...], delta: float, accountant: Accountant = "pld"
) -> float:
    """Epsilon of all the releases together, at `delta`; infinite where the accountant gives up."""
    active = tuple(spending for spending in spendings if spending.times)
    if not active:
        return 0.0
    return {"pld": _by_losses, "rdp": _by_moments, "prv": _by_variables}[accountant](active, delta)


@lru_cache(maxsize=1024)
def calibrated(
    rate: float, times: int, epsilon: float, delta: float, accountant: Accountant = "pld"
) -> float:
    """The smallest noise multiplier, to `TOLERANCE`, that keeps `times` releases at epsilon."""
    if times == 0:
        return 1.0  # nothing is released, so any noise will do

    from scipy.optimize import brentq

    def excess(logarithm: float) -> float:
        reached = composed((Spending(rate, exp(logarithm), times),), delta, accountant)
        return log(min(reached, 1e9) + 1e-9) - log(epsilon)

    low = high = 0.0
    while excess(high) > 0:
        high += 1.0
        if high > 30:
            raise SettingError(
                f"no noise brings {accountant} down to epsilon {epsilon:g} at delta {delta:g}: "
                "give a larger delta, or use pld"
            )
    while excess(low) < 0:
        low -= 0.5
    root = brentq(excess, low, high, xtol=TOLERANCE / 2)
    return exp(root + TOLERANCE / 2)


# Libraries are imported where they are used: they take most of a second, and most runs need none.


def _by_losses(spendings: tuple[Spending, ...], delta: float) -> float:
    if all(spending.rate >= 1 for spending in spendings):  # one Gaussian mechanism, known exactly
        from dp_accounting import gaussian_mechanism

        precision = sum(spending.times / spending.noise**2 for spending in spendings)
        return float(gaussian_mechanism.get_epsilon_gaussian(precision**-0.5, delta))
    losses = [_losses(each.rate, each.noise).self_compose(each.times) for each in spendings]
    total = reduce(lambda loss, other: loss.compose(other), losses)
    return float(total.get_epsilon_for_delta(delta))


@lru_cache(maxsize=64)
def _losses(rate: float, noise: float) -> Any:
    from dp_accounting.pld import privacy_loss_distribution as pld

    # About the standard deviation of one release's loss.
    usual = rate * expm1(min(noise**-2, 50.0)) ** 0.5
    interval = min(GRID * max(1.0, (COARSER / noise) ** 2), max(FINE * usual, 1e-7))
    return pld.from_gaussian_mechanism(
        noise, value_discretization_interval=interval, sampling_prob=rate
    )


def _by_moments(spendings: tuple[Spending, ...], delta: float) -> float:
    from absl import logging
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    logging.set_verbosity(logging.ERROR)  # it tells of every order that it leaves out
    accountant = RdpAccountant()
    for each in spendings:
        mechanism = dp_event.GaussianDpEvent(each.noise)
        accountant.compose(dp_event.PoissonSampledDpEvent(each.rate, mechanism), each.times)
    return float(accountant.get_epsilon(delta))


def _by_variables(spendings: tuple[Spending, ...], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [(each.noise, each.rate, each.times) for each in spendings]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of logarithms of zero that it throws away
            return float(accountant.get_epsilon(delta))
    except (RuntimeError, ValueError, MemoryError):  # outside of what its grid can hold
        return float("inf")
