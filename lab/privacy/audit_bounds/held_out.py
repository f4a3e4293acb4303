"""Where to cut: a threshold is chosen on canaries that the bound never counts.

The best threshold of many on the canaries that are counted is too good to be true: bounds from it
exceed the truth far more often than they say.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lab.common.random_streams import random_stream

CANDIDATES = 200  # thresholds that are looked at
FEW = 0.1  # of the canaries, to find the middle
SOME = 0.2  # to find a place in the tails


@dataclass(frozen=True, eq=False)
class CanarySplit:
    """Scores inside and outside, split at random and whatever they are."""

    chosen_on: tuple[np.ndarray, np.ndarray]
    counted: tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True, eq=False)
class ErrorCounts:
    """Canaries on the wrong side of each threshold: only a score above it is called in."""

    missed: np.ndarray  # (thresholds,) that were in
    inside: int
    alarms: np.ndarray  # (thresholds,) that were out
    outside: int

    def wrong(self) -> np.ndarray:
        """Both errors.  (thresholds,)"""
        both: np.ndarray = self.missed + self.alarms
        return both

    def sentence(self) -> str:
        """Of a single threshold."""
        return (
            f"above the threshold are {int(self.alarms[0]):,} of {self.outside:,} that were out "
            f"and all but {int(self.missed[0]):,} of {self.inside:,} that were in"
        )


def parted(inside: np.ndarray, outside: np.ndarray, share: float) -> CanarySplit:
    """The same canaries in every round, so that a series of bounds does not jump.

    share: of the canaries, to choose on
    """
    parts = [_split(inside, share, "inside"), _split(outside, share, "outside")]
    return CanarySplit((parts[0][0], parts[1][0]), (parts[0][1], parts[1][1]))


def thresholds(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Quantiles of all scores, closer in the tails.  (thresholds,)"""
    scores = np.sort(np.concatenate([inside, outside]))
    # Even steps on the logistic scale.
    levels = 1 / (1 + np.exp(-np.linspace(-1, 1, CANDIDATES) * np.log(len(scores))))
    return np.unique(scores[np.minimum((levels * len(scores)).astype(int), len(scores) - 1)])


def middle(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Halfway between the medians, unless fewer are wrong elsewhere by more than chance.  (1,)"""
    with np.errstate(invalid="ignore"):
        usual = np.nan_to_num((np.median(inside) + np.median(outside)) / 2)
    limits = np.append(thresholds(inside, outside), usual)
    wrong = counts(inside, outside, limits).wrong()
    by_chance = (len(inside) + len(outside)) ** 0.5 / 2
    best = wrong.argmin() if wrong.min() < wrong[-1] - by_chance else len(limits) - 1
    return limits[best : best + 1]


def counts(inside: np.ndarray, outside: np.ndarray, limits: np.ndarray) -> ErrorCounts:
    missed = np.searchsorted(np.sort(inside), limits, side="right")
    passed = np.searchsorted(np.sort(outside), limits, side="right")
    return ErrorCounts(missed, len(inside), len(outside) - passed, len(outside))


def _split(scores: np.ndarray, share: float, name: str) -> tuple[np.ndarray, np.ndarray]:
    order = random_stream(0, "held out", name).permutation(len(scores))
    few = round(share * len(scores))
    return scores[order[:few]], scores[order[few:]]
