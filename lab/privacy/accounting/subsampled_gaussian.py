"""Privacy losses of one release: a Gaussian mechanism on a Poisson sample.

The noisy sum is normal around 0 without the record.  With it, it is normal around 1 with
probability `rate`, and else around 0.  A loss is the logarithm of how much likelier a sum is in one
world than in the other.  The record is removed in one direction, and added in the other.

Each loss lies between two points of a grid and is shared out between them so that both worlds keep
all their mass (Connect the Dots, Doroshenko et al. 2022, arXiv:2207.04380).  That overstates what
is lost, and never understates it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, log
from typing import TypeVar

import numpy as np

Mass = TypeVar("Mass", float, np.ndarray)

NODES = 240  # sums at which means are taken
HIGHEST = 700.0  # the exponential of a larger number may overflow


@dataclass(frozen=True, eq=False)
class Losses:
    """On a grid: `chances[i]` is the chance of the loss `(first + i) * step`."""

    first: int
    chances: np.ndarray  # (losses,)
    infinite: float  # the chance of a greater loss

    def tilted(self, tilt: float) -> tuple[np.ndarray, np.ndarray, float]:
        """Chances times e^(tilt * place), with 1 as their sum, and the logarithm of what it was.

        -> places and chances (losses,)
        """
        known = np.flatnonzero(self.chances)
        places = self.first + known
        powers = np.log(self.chances[known]) + tilt * places
        top = powers.max()
        grown = np.exp(powers - top)
        total = grown.sum()
        return places, grown / total, float(top + np.log(total))


@dataclass(frozen=True, eq=False)
class Nodes:
    """Some losses that means can be taken over."""

    losses: np.ndarray  # (nodes,)
    logarithms: np.ndarray  # of their chances (nodes,)

    @classmethod
    def on(cls, step: float, losses: np.ndarray, logarithms: np.ndarray) -> Nodes:
        """Share out each loss between two points of the grid, as `_shared` does."""
        lower = np.floor(losses / step) * step
        share = np.clip(-np.expm1(lower - losses) / -np.expm1(-step), 1e-300, 1.0)
        rest = np.log(np.maximum(1 - share, 1e-300))
        return cls(
            np.append(lower, lower + step),
            np.append(logarithms + rest, logarithms + np.log(share)),
        )


@dataclass(frozen=True)
class Release:
    """A Gaussian mechanism on a Poisson sample, looked at as far as `reach` deviations of noise."""

    rate: float
    noise: float
    reach: float

    def ends(self) -> tuple[float, float]:
        """The least and the greatest loss of a record that is removed."""
        sums = np.array([-self.reach * self.noise, 1 + self.reach * self.noise])
        least, greatest = self._losses(sums).tolist()
        return least, greatest

    def on(self, step: float) -> tuple[Losses, Losses]:
        """Losses on a grid, of the record removed and of the record added."""
        least, greatest = self.ends()
        first, last = floor(least / step), ceil(greatest / step)
        losses = np.arange(first, last + 1) * step
        sums = self._sums(losses)
        without, below, above = _masses(sums / self.noise)
        ones, ones_below, ones_above = _masses((sums - 1) / self.noise)
        present = self._mixed(without, ones)
        removed = _shared(present, without * _exp(losses[:-1]), step)
        removed[0] += self._mixed(below, ones_below)
        added = _shared(without[::-1], (present * _exp(-losses[1:]))[::-1], step)
        added[0] += above
        return (
            Losses(first, removed, self._mixed(above, ones_above)),
            Losses(-last, added, below),
        )

    def nodes(self, step: float) -> tuple[Nodes, Nodes]:
        """A few losses that stand for those on a grid, of the record removed and added."""
        sums = np.linspace(-self.reach * self.noise, 1 + self.reach * self.noise, NODES)
        losses = self._losses(sums)
        without = -0.5 * (sums / self.noise) ** 2
        without -= np.logaddexp.reduce(without)
        return Nodes.on(step, losses, without + losses), Nodes.on(step, -losses, without)

    def _mixed(self, without: Mass, ones: Mass) -> Mass:
        """Masses with the record, from those around 0 and around 1."""
        return (1 - self.rate) * without + self.rate * ones

    def _losses(self, sums: np.ndarray) -> np.ndarray:
        """How much likelier each sum is with the record, as a logarithm."""
        ones = (2 * sums - 1) / (2 * self.noise**2)
        if self.rate >= 1:
            return np.asarray(ones)
        small = np.log1p(self.rate * np.expm1(np.minimum(ones, 1.0)))
        return np.where(
            ones < 1, small, np.logaddexp(np.log1p(-self.rate), np.log(self.rate) + ones)
        )

    def _sums(self, losses: np.ndarray) -> np.ndarray:
        """The sum with each loss; minus infinity where none has so little."""
        if self.rate >= 1:
            ones = losses
        else:
            over = np.expm1(np.minimum(losses, HIGHEST)) + self.rate
            known = np.log(np.where(over > 0, over, 1.0)) - log(self.rate)
            # Where the exponential would overflow, the rest is nothing beside it.
            ones = known + np.maximum(losses - HIGHEST, 0.0)
            ones = np.where(over > 0, ones, -np.inf)
        return np.asarray(self.noise**2 * ones + 0.5)


@dataclass(frozen=True)
class Mixture:
    """One of two releases, and everybody sees which: `other` comes with chance `rare`."""

    usual: Release
    other: Release
    rare: float

    def ends(self) -> tuple[float, float]:
        """The least and the greatest loss of a record that is removed."""
        pairs = self.usual.ends(), self.other.ends()
        return min(least for least, _ in pairs), max(greatest for _, greatest in pairs)

    def on(self, step: float) -> tuple[Losses, Losses]:
        """As `Release.on`."""
        usual, other = self.usual.on(step), self.other.on(step)
        return self._mixed(usual[0], other[0]), self._mixed(usual[1], other[1])

    def _mixed(self, usual: Losses, other: Losses) -> Losses:
        first = min(usual.first, other.first)
        last = max(each.first + len(each.chances) for each in (usual, other))
        chances = np.zeros(last - first)
        infinite = 0.0
        for each, share in ((usual, 1 - self.rare), (other, self.rare)):
            place = each.first - first
            chances[place : place + len(each.chances)] += share * each.chances
            infinite += share * each.infinite
        return Losses(first, chances, infinite)

    def nodes(self, step: float) -> tuple[Nodes, Nodes]:
        """As `Release.nodes`."""
        usual, other = self.usual.nodes(step), self.other.nodes(step)
        shares = log(1 - self.rare), log(self.rare)
        removed, added = (
            Nodes(
                np.append(one.losses, two.losses),
                np.append(one.logarithms + shares[0], two.logarithms + shares[1]),
            )
            for one, two in zip(usual, other, strict=True)
        )
        return removed, added


def _exp(numbers: np.ndarray) -> np.ndarray:
    """The exponential, or a smaller number where it would overflow: then more counts as lost."""
    return np.asarray(np.exp(np.minimum(numbers, HIGHEST)))


def _masses(places: np.ndarray) -> tuple[np.ndarray, float, float]:
    """Mass of a standard normal between each two places, below all, and above all."""
    from scipy.special import ndtr

    tails = ndtr(-np.abs(places))  # of the side on which the place lies, and so exact
    low, high = tails[:-1], tails[1:]
    between = np.where(places[1:] < 0, high - low, 1 - high - low)
    between = np.where(places[:-1] >= 0, low - high, between)
    ends = ndtr(places[0]), ndtr(-places[-1])
    return between, float(ends[0]), float(ends[1])


def _shared(here: np.ndarray, there: np.ndarray, step: float) -> np.ndarray:
    """Mass at the points of a grid, from the mass between each two of them.

    here: between the points, in this world.  (points - 1,)
    there: the same in the other world, times e^loss of the lower point.  (points - 1,)
    """
    upper = np.clip((here - there) / -np.expm1(-step), 0.0, here)
    return np.asarray(np.append(here - upper, 0.0) + np.append(0.0, upper))
