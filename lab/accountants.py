"""Accountants: what releases of a Gaussian mechanism on Poisson samples guarantee together.

Three ways to count the same.  Privacy loss distributions are tight (Doroshenko et al. 2022,
arXiv:2207.04380, rounded pessimistically), and what the lab states.  Renyi differential privacy
(Mironov et al. 2019, arXiv:1908.10530) is looser and older; PRV (Gopi et al. 2021,
arXiv:2106.02848, the upper end of its bracket) comes from another library.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from math import exp, expm1, isfinite, log, log1p
from typing import Any, Literal, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from lab.settings import SettingError, Settings

Accountant = Literal["pld", "rdp", "prv"]
ACCOUNTANTS: tuple[Accountant, ...] = get_args(Accountant)
GRID = 2e-3  # of privacy losses, at most
FINE = 0.07  # of a loss's standard deviation, at most: within 0.05 % of tight values, and live
COARSER = 0.3  # a noise multiplier below which losses are large, and so is the grid
COARSEST = 1e-3  # of the standard deviation of all losses together
NEAR = 0.1  # how far the logarithm of a noise multiplier usually is from where a search begins
TOLERANCE = 4e-4  # relative, of a calibrated noise multiplier
SHORT = 1e-3  # relative, by which epsilon at most stays below what was asked for


@dataclass(frozen=True)
class Spending:
    """`times` rounds, in each of which with `chance` come `steps` releases.

    A release is a Gaussian mechanism on a Poisson sample.  Whether a round had any is not secret:
    who takes part adds noise of its own, so that staying away is no release without the record.
    """

    rate: float
    noise: float
    times: int
    steps: int = 1
    chance: float = 1.0
    leak: float = 0.0  # probability in each round of an event after which nothing is guaranteed

    def always(self) -> Spending:
        """At least as much spending, and simpler: releases in every round.  Leaves the leak out."""
        return Spending(self.rate, self.noise, self.times * self.steps)


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
            plan = Spending(self.rate, 1.0, self.steps)
            return "noise", calibrated(plan, self.epsilon, self.delta, self.accountant)
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
    """Epsilon of all the releases together, at `delta`; infinite where the accountant gives up.

    What leaks uses up delta first, and epsilon is infinite if nothing of it is left.
    """
    left = delta - leaked(spendings)
    if left <= 0:
        return float("inf")
    active = releases_of(spendings)
    if not active:
        return 0.0
    return {"pld": _by_losses, "rdp": _by_moments, "prv": _by_variables}[accountant](active, left)


def leaked(spendings: tuple[Spending, ...]) -> float:
    """The part of delta that leaks use up, by the union bound."""
    return sum(each.times * each.leak for each in spendings)


def releases_of(spendings: tuple[Spending, ...]) -> tuple[Spending, ...]:
    """The spendings that release something, each kind once and without its leak."""
    times: dict[Spending, int] = {}
    for each in spendings:
        if each.times and each.steps:
            kind = replace(each, times=1, leak=0.0)
            times[kind] = times.get(kind, 0) + each.times
    return tuple(replace(kind, times=count) for kind, count in times.items())


@lru_cache(maxsize=1024)
def calibrated(
    plan: Spending,
    epsilon: float,
    delta: float,
    accountant: Accountant = "pld",
    before: tuple[Spending, ...] = (),
) -> float:
    """The smallest noise multiplier, to `TOLERANCE`, that keeps epsilon at `delta` in all.

    plan: its own noise does not count
    before: what has been spent already, and counts as well

    Raises SettingError where no noise is enough.
    """
    if plan.times == 0 or plan.steps == 0:
        return 1.0  # nothing is released, so any noise will do
    _affordable(plan, epsilon, delta, accountant, before)

    def excess(logarithm: float) -> float:
        together = (*before, replace(plan, noise=exp(logarithm)))
        reached = composed(together, delta, accountant)
        return log(min(reached, 1e9) + 1e-9) - log(epsilon)

    low = high = log(_about(plan, epsilon, delta - leaked((plan, *before))))
    while excess(high) > 0:
        high += NEAR if high - low < 1 else 1.0
        if high > 30:
            raise SettingError(
                f"no noise brings {accountant} down to epsilon {epsilon:g} at delta {delta:g}: "
                "give a larger delta, or use pld"
            )
    while excess(low) < 0:
        low -= NEAR
    while high - low > TOLERANCE or excess(high) < log(1 - SHORT):
        middle = (low + high) / 2
        if excess(middle) > 0:
            low = middle
        else:
            high = middle
    return exp(high)


def _affordable(
    plan: Spending,
    epsilon: float,
    delta: float,
    accountant: Accountant,
    before: tuple[Spending, ...],
) -> None:
    """Raises SettingError where the plan can have no noise that would be enough."""
    lost = leaked((plan, *before))
    if lost >= delta:
        raise SettingError(
            f"privacy.delta is {delta:g} and rounds that may go wrong use up {lost:.3g} of it: "
            "give a larger delta"
        )
    if not before:
        return
    spent = composed((*before, replace(plan, steps=0)), delta, accountant)
    if spent >= epsilon:
        raise SettingError(
            f"privacy.epsilon is {epsilon:g} and the rounds before have spent {spent:.3g}: "
            "give more, or set privacy.noise"
        )


def _about(plan: Spending, epsilon: float, delta: float) -> float:
    """A noise multiplier not far from it, by the central limit of many small losses.

    Never a guarantee.  Dong et al. 2022, arXiv:1905.02383, corollary 5.4.
    """
    from dp_accounting import gaussian_mechanism

    whole = gaussian_mechanism.get_sigma_gaussian(epsilon, delta)  # of a single release
    releases = plan.times * plan.steps * plan.chance
    return float(log1p(whole**-2 / (plan.rate**2 * releases)) ** -0.5)


# Libraries are imported where they are used: they take most of a second, and most runs need none.


def _by_losses(spendings: tuple[Spending, ...], delta: float) -> float:
    if all(each.rate >= 1 and each.chance >= 1 for each in spendings):
        from dp_accounting import gaussian_mechanism

        # One Gaussian mechanism, known exactly.
        precision = sum(each.times * each.steps / each.noise**2 for each in spendings)
        return float(gaussian_mechanism.get_epsilon_gaussian(precision**-0.5, delta))
    return float(_total(spendings).get_epsilon_for_delta(delta))


def deltas(spendings: tuple[Spending, ...], epsilons: np.ndarray) -> np.ndarray:
    """The delta of all releases together at each epsilon: what one guarantee alone leaves out."""
    lost = leaked(spendings)
    active = releases_of(spendings)
    if not active:
        return np.full(len(epsilons), min(1.0, lost))
    found = np.asarray(_total(active).get_delta_for_epsilon(list(epsilons)))
    return np.minimum(1.0, found + lost)


@lru_cache(maxsize=8)
def _total(spendings: tuple[Spending, ...]) -> Any:
    """The privacy losses of all releases together."""
    grid = _grid(spendings)
    found = [_losses(replace(each, times=1), grid).self_compose(each.times) for each in spendings]
    return reduce(lambda loss, other: loss.compose(other), found)


def _grid(spendings: tuple[Spending, ...]) -> float:
    """The step between two losses: fine for each mechanism, as far as the whole can tell."""
    finest, variance = 1.0, 0.0
    for each in spendings:
        # About the standard deviation of one release's loss.
        usual = each.rate * expm1(min(each.noise**-2, 50.0)) ** 0.5
        variance += each.times * each.steps * each.chance * usual**2
        interval = min(GRID * max(1.0, (COARSER / each.noise) ** 2), max(FINE * usual, 1e-7))
        finest = min(finest, interval)
    return max(finest, COARSEST * variance**0.5) if len(spendings) > 1 else finest


@lru_cache(maxsize=64)
def _losses(once: Spending, grid: float) -> Any:
    """The privacy losses of one round."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    release = pld.from_gaussian_mechanism(
        once.noise, value_discretization_interval=grid, sampling_prob=min(1.0, once.rate)
    )
    round = release.self_compose(once.steps)
    if once.chance >= 1:
        return round
    return round.compute_mixture(pld.identity(grid), once.chance)


def _by_moments(spendings: tuple[Spending, ...], delta: float) -> float:
    from absl import logging
    from dp_accounting import dp_event
    from dp_accounting.rdp import RdpAccountant

    logging.set_verbosity(logging.ERROR)  # it tells of every order that it leaves out
    accountant = RdpAccountant()
    for each in map(Spending.always, spendings):
        mechanism = dp_event.GaussianDpEvent(each.noise)
        accountant.compose(dp_event.PoissonSampledDpEvent(each.rate, mechanism), each.times)
    return float(accountant.get_epsilon(delta))


def _by_variables(spendings: tuple[Spending, ...], delta: float) -> float:
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [
        (each.noise, each.rate, each.times) for each in map(Spending.always, spendings)
    ]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of logarithms of zero that it throws away
            return float(accountant.get_epsilon(delta))
    except (RuntimeError, ValueError, MemoryError):  # outside of what its grid can hold
        return float("inf")
