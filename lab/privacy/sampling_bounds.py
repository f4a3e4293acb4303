"""What samples that are not independent cost: bounds from below, by pairs of worlds that occur.

A cohort of fixed size, or a shuffled epoch, is not a Poisson sample, and an accountant that takes
it for one promises too much.  Lebeda et al. 2024, arXiv:2405.20769; Chua et al. 2024,
arXiv:2403.17673.

In both worlds everybody else sends -1 (times the clip).  The one record sends 1, or nothing: where
it is drawn it takes the place of another, and so moves the sum by 2, or by 1.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lab.privacy.accounting.composition import repeated
from lab.privacy.accounting.subsampled_gaussian import Losses

BINS = 8000  # of what is observed; to put outcomes together never tells the worlds further apart
TAIL = 12.0  # standard deviations beyond which nothing is looked at
LOSSES = 25_000  # different ones of a round, rounded down
LEAST = 1e-9  # between two different losses
ROUNDING = 1e-6  # relative, of delta: more than composition overstates it


@lru_cache(maxsize=256)
def cohort_at_least(rate: float, noise: float, times: int, delta: float) -> float:
    """What epsilon is at least, where each round asks exactly the share `rate` of all."""
    edges = _edges(noise)
    chances = [
        (1 - rate) * _normal(edges / noise) + rate * _normal((edges - by) / noise) for by in (1, 2)
    ]
    return _at_least(chances[0], chances[1], times, delta)


@lru_cache(maxsize=256)
def epoch_at_least(batches: int, noise: float, epochs: int, delta: float) -> float:
    """What epsilon is at least, where each epoch is shuffled and cut into batches.

    For an adversary who sees every step, and looks at the greatest of an epoch.
    """
    edges = _edges(noise)
    others = _normal(edges / noise) ** (batches - 1)
    chances = [others * _normal((edges - by) / noise) for by in (1, 2)]
    return _at_least(chances[0], chances[1], epochs, delta)


def _normal(values: np.ndarray) -> np.ndarray:
    """The distribution function of the standard normal."""
    from scipy.special import ndtr  # where it is used: it takes a while, and most runs need none

    return np.asarray(ndtr(values))


def _edges(noise: float) -> np.ndarray:
    return np.linspace(-TAIL * noise, 2 + TAIL * noise, BINS + 1)


def _at_least(absent: np.ndarray, present: np.ndarray, times: int, delta: float) -> float:
    """From the distribution functions of one observation in the two worlds, at the edges."""
    if times == 0:
        return 0.0
    worlds = np.diff(absent), np.diff(present)
    return max(_epsilon(*pair, times, delta) for pair in (worlds, worlds[::-1]))


def _epsilon(upper: np.ndarray, lower: np.ndarray, times: int, delta: float) -> float:
    """Losses are rounded down, and where one world alone is possible they do not count."""
    seen = (upper > 0) & (lower > 0)
    losses = np.log(upper[seen] / lower[seen])
    if len(losses) == 0:
        return 0.0
    grid = max(float(np.ptp(losses)) / LOSSES, LEAST)
    places = np.floor(losses / grid).astype(int)
    lowest = int(places.min())
    once = Losses(lowest, np.bincount(places - lowest, upper[seen]), 0.0)
    return repeated(once, grid, times, delta * (1 + ROUNDING))
