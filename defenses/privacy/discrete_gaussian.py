"""The discrete Gaussian, exactly. Canonne, Kamath, Steinke 2020, arXiv:2004.00010, section 5.

Only integers are drawn and compared.  Therefore the low bits of a draw say nothing about the value
that it was added to.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil, floor, log2

import numpy as np

from lab.common.random_streams import Integers

FINEST = 2**20  # a deviation is a whole number of such parts, or of parts 2^-25 of itself
PROPOSALS = 2**16  # at a time, so that they stay in the cache


def discrete_gaussian(deviation: float, size: int, generator: Integers) -> np.ndarray:
    """Draw integers y with chance proportional to exp(-y^2 / (2 deviation^2)).  -> (size,) int64

    The deviation is first rounded up, by 2^-20, or by 2^-25 of itself where that is more.  The draw
    is
    exact up to the generator.  Raises ValueError beyond deviations of 2^28.
    """
    if not 0 <= deviation <= 2**28:
        raise ValueError(f"deviation is {deviation:g}: give 0 to {2**28}")
    found = np.zeros(size, np.int64)
    if not deviation:
        return found
    parts, per_one = _as_fraction(deviation)
    filled = 0
    while filled < size:
        drawn = _accepted(parts, per_one, min(PROPOSALS, 2 * (size - filled) + 8), generator)
        taken = drawn[: size - filled]
        found[filled : filled + len(taken)] = taken
        filled += len(taken)
    return found


def _as_fraction(deviation: float) -> tuple[int, int]:
    """Return sigma = parts / per_one, rounded up, small enough that its squares fit 64 bits."""
    per_one = min(FINEST, 2 ** max(0, 26 - ceil(log2(deviation))))
    return ceil(deviation * per_one), per_one


def _accepted(s: int, q: int, count: int, generator: Integers) -> np.ndarray:
    """Run algorithm 3 on `count` proposals: sigma = s / q, t = floor(sigma) + 1.

    A proposal y is kept with probability exp(-x^2 / 2), x = (|y| - sigma^2 / t) / sigma = a / b.
    """
    t = floor(s / q) + 1
    y = discrete_laplace(t, count, generator)
    a, b = np.abs(np.abs(y) * (q * q * t) - s * s), q * t * s
    whole, rest = a // b, a % b
    # x^2 / 2 = whole^2 / 2 + whole * rest / b + (rest / b)^2 / 2, each factor at most 1.
    half = np.ones(count, np.int64)
    kept = _repeatedly(whole * whole, half, 2, generator)
    kept[kept] = _repeatedly(whole[kept], rest[kept], b, generator)
    kept[kept] = _half_square(rest[kept], b, generator)
    chosen: np.ndarray = y[kept]
    return chosen


def discrete_laplace(t: int, count: int, generator: Integers) -> np.ndarray:
    """Algorithm 2: draw integers y with probability proportional to exp(-|y| / t).  -> (count,)"""
    found = np.zeros(count, np.int64)
    left = np.arange(count)
    while left.size:
        u = generator.integers(0, t, left.size)
        proposed = _chance(u, t, generator)
        v = _geometric(left.size, generator)
        negative = generator.integers(0, 2, left.size).astype(bool)
        x = u + t * v
        good = proposed & ~(negative & (x == 0))  # zero has no sign
        found[left[good]] = np.where(negative, -x, x)[good]
        left = left[~good]
    return found


def _geometric(count: int, generator: Integers) -> np.ndarray:
    """Count the successes in a row of an event of probability exp(-1).  -> (count,)"""
    found = np.zeros(count, np.int64)
    going = np.arange(count)
    while going.size:
        going = going[_chance(np.ones(going.size, np.int64), 1, generator)]
        found[going] += 1
    return found


def _chance(x: np.ndarray, y: int, generator: Integers) -> np.ndarray:
    """Algorithm 1: true with probability exp(-x / y), for 0 <= x <= y.  -> (count,) bool"""

    def trial(k: int, at: np.ndarray) -> np.ndarray:
        rare: np.ndarray = generator.integers(0, y * k, at.size) < x[at]
        return rare

    return _alternating(len(x), trial)


def _half_square(x: np.ndarray, y: int, generator: Integers) -> np.ndarray:
    """Return true with probability exp(-(x / y)^2 / 2): one trial needs three events together."""

    def trial(k: int, at: np.ndarray) -> np.ndarray:
        one, other = (generator.integers(0, y, at.size) < x[at] for _ in range(2))
        rare: np.ndarray = generator.integers(0, 2 * k, at.size) == 0
        found: np.ndarray = one & other & rare
        return found

    return _alternating(len(x), trial)


def _alternating(count: int, trial: Callable[[int, np.ndarray], np.ndarray]) -> np.ndarray:
    """Return true where the first trial to fail has an odd k; trial k succeeds with gamma / k."""
    odd = np.ones(count, bool)
    going, k = np.arange(count), 1
    while going.size:
        going = going[trial(k, going)]
        odd[going] = ~odd[going]
        k += 1
    return odd


def _repeatedly(times: np.ndarray, x: np.ndarray, y: int, generator: Integers) -> np.ndarray:
    """Return true where exp(-x / y) is drawn true `times` times in a row.  -> (count,) bool"""
    true = np.ones(len(times), bool)
    going, done = np.flatnonzero(times), 0
    while going.size:
        lucky = _chance(x[going], y, generator)
        true[going[~lucky]] = False
        done += 1
        going = going[lucky & (times[going] > done)]
    return true
