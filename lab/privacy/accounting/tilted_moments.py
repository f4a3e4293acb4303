"""Means of e^(tilt * loss) over many releases: where their losses lie, and how to tilt them.

A tilt multiplies chances by e^(tilt * loss).  Chernoff's bound on a tail is the least over tilts.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, log1p

import numpy as np

from lab.privacy.accounting.releases import GaussianReleases
from lab.privacy.accounting.subsampled_gaussian import Nodes

TILTS = np.geomspace(1e-4, 10, 25)  # as shares of the best tilt for a Gaussian loss
TURNS = np.geomspace(1e-4, 1e2, 25)  # the same, from a tilt to either side
STEEPEST = 1.0  # power of e between two points of the grid


@dataclass(frozen=True)
class Window:
    """Where losses are looked at in one direction, and how they are tilted there."""

    tilt: float
    low: float
    high: float
    cut: float  # minus the logarithm of the tilted mass beyond either end


@dataclass(frozen=True, eq=False)
class Moments:
    """Means of e^(tilt * loss) over all releases, taken at some sums."""

    spendings: tuple[GaussianReleases, ...]
    nodes: list[Nodes]  # of one release of each
    step: float  # of the grid on which they lie

    def growth(self, tilts: np.ndarray) -> np.ndarray:
        """The logarithm of the mean for each tilt.  (tilts,) -> (tilts,)"""
        total = np.zeros(len(tilts))
        for each, nodes in zip(self.spendings, self.nodes, strict=True):
            powers = np.multiply.outer(tilts, nodes.losses) + nodes.logarithms
            top = powers.max(axis=1)
            release = top + np.log(np.exp(powers - top[:, None]).sum(axis=1))
            total += each.times * by_chance(each, each.steps * release)
        return total

    def deviation(self) -> float:
        """The standard deviation of all losses together."""
        variance = 0.0
        for each, nodes in zip(self.spendings, self.nodes, strict=True):
            chances = np.exp(nodes.logarithms)
            mean = float(chances @ nodes.losses)
            one = each.steps * float(chances @ (nodes.losses - mean) ** 2)
            varying = each.chance * (1 - each.chance) * (each.steps * mean) ** 2
            variance += each.times * (each.chance * one + varying)
        return float(variance**0.5)

    def tilt(self, delta: float) -> float:
        """The tilt that makes losses likely that decide about delta: Chernoff's best."""
        wanted = -log(delta)
        tilts = self._tilts(wanted, TILTS)
        return float(tilts[((self.growth(tilts) + wanted) / tilts).argmin()])

    def window(self, tilt: float, cut: float) -> Window:
        """Where all losses so tilted lie but e^-cut at either end, by Chernoff's bound."""
        turns = self._tilts(cut, TURNS)
        middle = self.growth(np.array([tilt]))[0]
        highs = (self.growth(tilt + turns) - middle + cut) / turns
        lows = (self.growth(tilt - turns) - middle + cut) / -turns
        return Window(tilt, float(lows.max()), float(highs.min()), cut)

    def _tilts(self, wanted: float, shares: np.ndarray) -> np.ndarray:
        """Beside the best for Gaussian losses; none so steep that two points of the grid differ."""
        best = (2 * wanted) ** 0.5 / max(self.deviation(), self.step)
        return np.asarray(np.minimum(best * shares, STEEPEST / self.step))


def by_chance(each: GaussianReleases, logarithms: np.ndarray) -> np.ndarray:
    """The mean over whether a round has releases, from the mean if it has.  All logarithms."""
    if each.chance >= 1:
        return logarithms
    return np.asarray(np.logaddexp(log1p(-each.chance), log(each.chance) + logarithms))
