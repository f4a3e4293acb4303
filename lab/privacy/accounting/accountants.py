"""Accountants: what releases of a Gaussian mechanism on Poisson samples guarantee together.

Three ways to count the same.  Privacy loss distributions are tight (Doroshenko et al. 2022,
arXiv:2207.04380), and what the lab states.  Renyi differential privacy (Mironov et al. 2019,
arXiv:1908.10530) is looser and older; PRV (Gopi et al. 2021, arXiv:2106.02848, the upper end of its
bracket) comes from another library.

Answers are found in this process, or elsewhere if somebody offers to: see `count_elsewhere`.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import inf, isinf
from typing import Protocol, Self

import numpy as np
from pydantic import Field, model_validator

from lab.common.settings import SettingError, Settings
from lab.privacy.accounting.in_process import (
    ACCOUNTANTS,
    Accountant,
    by_variables,
    deltas_of,
    epsilon_of,
    is_closed,
)
from lab.privacy.accounting.noise_calibration import TOLERANCE, noise_for
from lab.privacy.accounting.releases import GaussianReleases, leaked, releases_of

__all__ = [
    "ACCOUNTANTS",
    "TOLERANCE",
    "Accountant",
    "Question",
    "Seam",
    "GaussianReleases",
    "calibrate_noise",
    "compose_epsilon",
    "count_elsewhere",
    "privacy_profile",
]


class Elsewhere(Protocol):
    """Answers that take time, from another process.  Any thread may ask.

    Everything here may raise SettingError: that an answer takes too long, or what the answer is.
    """

    def epsilon_of(
        self, spendings: tuple[GaussianReleases, ...], delta: float, accountant: Accountant
    ) -> float:
        """As `lab.privacy.accounting.in_process` does."""

    def deltas_of(
        self, spendings: tuple[GaussianReleases, ...], epsilons: tuple[float, ...]
    ) -> tuple[float, ...]:
        """As `lab.privacy.accounting.in_process` does."""

    def noise_for(
        self,
        plan: GaussianReleases,
        epsilon: float,
        delta: float,
        accountant: Accountant,
        before: tuple[GaussianReleases, ...],
    ) -> float:
        """As `lab.privacy.accounting.noise_calibration` does."""


class Seam:
    """Where answers that take time are found: here, unless there is an `elsewhere`."""

    elsewhere: Elsewhere | None = None


def count_elsewhere(elsewhere: Elsewhere | None) -> None:
    """From now on ask there, for a server that has other things to do; None: count here again."""
    Seam.elsewhere = elsewhere


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
            plan = GaussianReleases(self.rate, 1.0, self.steps)
            return "noise", calibrate_noise(plan, self.epsilon, self.delta, self.accountant)
        assert self.noise is not None
        spending = GaussianReleases(self.rate, self.noise, self.steps)
        if self.accountant == "prv" and isinf(by_variables((spending,), self.delta)):
            raise SettingError(
                f"noise is {self.noise:g}, too little for prv to count so many releases: give "
                "more noise, or use pld"
            )
        return "epsilon", compose_epsilon((spending,), self.delta, self.accountant)


@lru_cache(maxsize=4096)
def compose_epsilon(
    spendings: tuple[GaussianReleases, ...], delta: float, accountant: Accountant = "pld"
) -> float:
    """Epsilon of all the releases together, at a delta below 1.

    Leaks use up delta first, and epsilon is infinite if they leave nothing of it.  Else it is
    finite.  Raises SettingError where there is next to no noise.
    """
    left = delta - leaked(spendings, rare=accountant != "pld")
    if left <= 0:
        return inf
    active = releases_of(spendings)
    if not active or left >= 1:
        return 0.0
    if (elsewhere := Seam.elsewhere) is None or (accountant == "pld" and is_closed(active)):
        return epsilon_of(active, left, accountant)
    return elsewhere.epsilon_of(active, left, accountant)


@lru_cache(maxsize=1024)
def calibrate_noise(
    plan: GaussianReleases,
    epsilon: float,
    delta: float,
    accountant: Accountant = "pld",
    before: tuple[GaussianReleases, ...] = (),
) -> float:
    """The least noise multiplier, to `TOLERANCE`, that keeps epsilon at `delta` in all.

    plan: its own noise does not count
    before: what has been spent already, and counts as well

    Raises SettingError where no noise is enough.
    """
    if plan.times == 0 or plan.steps == 0:
        return 1.0  # nothing is released, so any noise will do
    closed = accountant == "pld" and is_closed((replace(plan, noise=1.0), *releases_of(before)))
    if (elsewhere := Seam.elsewhere) is None or closed:
        return noise_for(plan, epsilon, delta, accountant, before)
    return elsewhere.noise_for(plan, epsilon, delta, accountant, before)


def privacy_profile(spendings: tuple[GaussianReleases, ...], epsilons: np.ndarray) -> np.ndarray:
    """The delta of all releases together at each epsilon: what one guarantee alone leaves out."""
    found = np.array(_deltas(releases_of(spendings), tuple(epsilons.tolist())))
    return np.minimum(1.0, found + leaked(spendings))


@lru_cache(maxsize=64)
def _deltas(active: tuple[GaussianReleases, ...], epsilons: tuple[float, ...]) -> tuple[float, ...]:
    if not active:
        return (0.0,) * len(epsilons)
    if (elsewhere := Seam.elsewhere) is None or is_closed(active):
        return tuple(deltas_of(active, np.array(epsilons)).tolist())
    return elsewhere.deltas_of(active, epsilons)
