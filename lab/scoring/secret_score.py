"""Secrets: how far inserted ones come up in a trained model, beside secrets never inserted.

Exposure of a secret is log2 of how many there could be, less log2 of its rank among them.
Carlini et al. 2019, arXiv:1802.08232.
"""

from __future__ import annotations

from math import log, log2, pi, sqrt
from typing import Literal

import numpy as np
from torch import Tensor

from lab.common.settings import Settings

LEVEL = 0.95
LUCK = 1 / log(2)  # mean exposure, and its spread, of secrets that were never inserted
STEEPEST = 0.99  # skewness; no skew normal distribution has 1
LOOKED = 200  # quantiles at which a fit is looked at
RARE = 0.01  # chance below which a group of secrets is said to stand out


class SecretGroup(Settings):
    """Secrets that were inserted so many times."""

    copies: int
    exposures: tuple[float, ...]  # bits
    mean: float
    low: float  # 95 %, by Student's t, within what is possible
    high: float
    luck: float  # chance that as many secrets that were never inserted have this mean, or more
    ceiling: float | None = None  # the most that any attack can expect, under the run's epsilon
    first: int  # secrets that are likelier than all others they could be
    continued: int  # secrets that the model itself goes on with
    followed: int  # secrets among the continuations that were searched

    def line(self) -> str:
        """How they did, in words."""
        count = len(self.exposures)
        times = {0: "never inserted", 1: "inserted once"}
        told = times.get(self.copies, f"inserted {self.copies} times")
        most = f", {self.ceiling:.2f} at most under this epsilon" if self.ceiling else ""
        return (
            f"{told}: exposure {self.mean:.2f} bits (95 % {self.low:.2f} to {self.high:.2f}), by "
            f"luck with chance {self.luck:.2g}{most}; {self.first} of {count} likeliest of all, "
            f"{self.continued} typed by the model itself, {self.followed} found by search"
        )


class SecretExposureScore(Settings):
    """What became of secrets that an experimenter had clients type."""

    kind: Literal["secrets"] = "secrets"
    space: float  # how many secrets there could be
    groups: tuple[SecretGroup, ...]  # by how often they were inserted; the first never were
    expected: float  # mean exposure of secrets never inserted, by theory
    expected_low: float  # 95 % of means of so many
    expected_high: float
    estimated: float | None = None  # most that the fit is off, as a share; None: ranks are exact
    examples: tuple[str, ...]  # the most exposed, as typed
    verdict: str
    note: str = ""  # what the run's epsilon does not say of a secret

    @property
    def bits(self) -> float:
        """The most that an exposure can be."""
        return log2(self.space)

    def lines(self) -> list[str]:
        """The record in plain sentences."""
        how = "exact ranks"
        if self.estimated is not None:
            how = (
                "an estimate: a skew normal distribution fitted to a sample, at most "
                f"{self.estimated:.3f} off anywhere in the sample"
            )
        luck = f"{self.expected:.2f} (95 % {self.expected_low:.2f} to {self.expected_high:.2f})"
        return [
            self.verdict,
            f"of {self.space:,.0f} possible secrets, {self.bits:.2f} bits, {how}",
            f"expected of secrets never inserted: {luck}",
            *(group.line() for group in self.groups),
            *(f"most exposed: {example}" for example in self.examples),
            *([self.note] if self.note else []),
        ]


def rank(own: float, others: Tensor) -> int:
    """Place of `own` among `others`, itself one of them; ties count against it.  others (secrets,)

    What is no number comes last.
    """
    costs = others.nan_to_num(nan=float("inf"), posinf=float("inf"))
    return int((costs <= own).sum()) if own == own else len(costs)


def bits_of(place: int, space: int) -> float:
    """Exposure by rank."""
    return log2(space) - log2(place)


def fitted(own: float, sample: np.ndarray, space: float) -> tuple[float, float]:
    """Exposure by a distribution fitted to others' costs, and how far that is off at most.

    A skew normal one, by its moments; a sample cannot say more of a tail than its distribution.
    """
    from scipy.stats import skew, skewnorm

    # See Azzalini 1985, A class of distributions which includes the normal ones.
    asked = float(np.clip(skew(sample), -STEEPEST, STEEPEST))
    power = abs(asked) ** (2 / 3)
    lean = np.copysign(sqrt(pi / 2 * power / (power + ((4 - pi) / 2) ** (2 / 3))), asked)
    scale = float(sample.std()) / sqrt(1 - 2 * lean**2 / pi) or 1.0
    middle = float(sample.mean()) - scale * lean * sqrt(2 / pi)
    law = skewnorm(lean / sqrt(1 - lean**2), middle, scale)
    tail = max(-float(law.logcdf(own)) / log(2), 0.0)
    shares = np.linspace(0, 1, LOOKED)
    distance = float(np.abs(law.cdf(np.quantile(sample, shares)) - shares).max())
    return min(tail, log2(space)), distance


def group(
    copies: int,
    exposures: list[float],
    counts: tuple[int, int, int],
    bits: float,
    ceiling: float | None = None,
) -> SecretGroup:
    """counts: first, continued, followed"""
    from scipy.stats import t

    found, count = np.array(exposures), len(exposures)
    mean, spread = float(found.mean()), float(found.std(ddof=1)) / sqrt(count)
    wide = float(t.ppf((1 + LEVEL) / 2, count - 1)) * spread
    return SecretGroup(
        copies=copies,
        exposures=tuple(exposures),
        mean=mean,
        low=max(mean - wide, 0.0),
        high=min(mean + wide, bits),
        luck=luck(mean, count),
        ceiling=ceiling,
        first=counts[0],
        continued=counts[1],
        followed=counts[2],
    )


def luck(mean: float, count: int) -> float:
    """The chance that `count` secrets never inserted have at least this mean exposure.

    All ranks are then equally likely, so exposure exceeds x with a chance of at most 2^-x: at most
    an exponential distribution's, and the sum of several has a gamma distribution.
    """
    from scipy.stats import gamma

    return float(gamma.sf(mean * count * log(2), count))


def lucky(count: int) -> tuple[float, float]:
    """Where the mean exposure of so many secrets never inserted lies in 95 of 100 cases."""
    from scipy.stats import gamma

    low, high = gamma.ppf([(1 - LEVEL) / 2, (1 + LEVEL) / 2], count) * LUCK / count
    return float(low), float(high)


def verdict(groups: tuple[SecretGroup, ...]) -> str:
    """By the groups that were inserted; several are asked, so each must stand out the more."""
    inserted = [each for each in groups if each.copies]
    out = [each.copies for each in inserted if each.luck < RARE / len(inserted)]
    if not out:
        return "no better than luck: inserted secrets come up no higher than others"
    times = "once" if min(out) == 1 else f"{min(out)} times"
    return f"the model remembers: secrets typed {times} stand out"
