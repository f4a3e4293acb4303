"""Privacy losses of many releases together.

Losses add up, and Fourier transforms add them.  Before a transform, chances are tilted: multiplied
by e^(tilt * loss), so that the losses that decide about a small delta are the likely ones.
Rounding of floating-point numbers is then small beside delta, however small delta is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, expm1, floor, inf, log, log1p

import numpy as np

from lab.privacy.accounting.releases import GaussianReleases
from lab.privacy.accounting.subsampled_gaussian import HIGHEST, Losses, Mixture, Nodes, Release
from lab.privacy.accounting.tilted_moments import Moments, Window, by_chance

DIRECTIONS = (0, 1)  # the record is removed, or added
GRID = 2e-3  # the step between two losses, at most
FINE = 0.05  # of a loss's standard deviation is the step, at most: within 0.03 % of tight values
COARSER = 0.3  # a noise multiplier below which losses are large, and so is the grid
FINEST = 1e-7  # the step, at least
POINTS = 2**21  # of a grid, at most: memory is bounded, and the grid is coarser instead
SPARE = 1e-6  # of delta, for sums beyond those that are looked at
CUT = 23.0  # minus the logarithm of the tilted mass beyond either end of a window
SAFE = 300.0  # a power of e that leaves room for sums
LEAST = 1e-15  # delta that is told from none where many are wanted at once
ROUNDING = 1e-16  # of all chances, in each release
MARGIN = 10.0  # by which that mass is overstated, for its bound comes from means over nodes


@dataclass(frozen=True, eq=False)
class Total:
    """Losses of all releases on a grid.

    The chance of `losses[i]` is `e^(growth - tilt * losses[i]) * tilted[i]`.
    """

    losses: np.ndarray  # (losses,) rising
    tilted: np.ndarray  # (losses,)
    tilt: float
    growth: float
    infinite: float  # the chance of a greater loss

    def epsilon(self, delta: float) -> float:
        """The least epsilon at `delta`; infinite if greater losses alone are likelier."""
        here, there = self._sums()
        scales = self.growth - self.tilt * self.losses
        deltas = self.infinite + np.exp(np.minimum(scales, HIGHEST)) * (here - there)
        too_likely = np.flatnonzero(deltas > delta)
        if not len(too_likely):
            return max(0.0, float(self.losses[0]))
        after = int(too_likely[-1]) + 1
        if after == len(deltas):
            return inf
        found = float(self.losses[after])
        left = (delta - self.infinite) * exp(min(-scales[after], HIGHEST))
        if here[after] > left and there[after] > 0:  # between two losses, delta is known exactly
            found += min(0.0, log((here[after] - left) / there[after]))
        return max(0.0, found)

    def deltas(self, epsilons: np.ndarray) -> np.ndarray:
        """The delta at each epsilon.  (epsilons,) -> (epsilons,)"""
        here, there = (np.append(sums, 0.0) for sums in self._sums())
        losses = np.append(self.losses, self.losses[-1])  # beyond all, sums are none
        places = np.searchsorted(self.losses, epsilons, side="right")
        scales = self.growth - self.tilt * losses[places]
        gaps = here[places] - np.exp(np.minimum(epsilons - losses[places], 0.0)) * there[places]
        return np.asarray(self.infinite + np.exp(np.minimum(scales, HIGHEST)) * gaps)

    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Chances of at least each loss in this world, and of the same in the other times e^loss.

        Both (losses,) and tilted, so that they are neither too large nor too small for a number.
        """
        step = float(self.losses[1] - self.losses[0])
        return _faded(self.tilted, self.tilt * step), _faded(self.tilted, (self.tilt + 1) * step)


def _faded(values: np.ndarray, fall: float) -> np.ndarray:
    """Of each value and those after it the sum, which fade by e^-fall from place to place."""
    backwards = values[::-1]
    found = np.empty_like(backwards)
    stretch = max(1, int(SAFE / max(fall, SAFE / len(values))))
    carried = 0.0
    for start in range(0, len(values), stretch):
        part = backwards[start : start + stretch]
        growth = np.exp(fall * np.arange(len(part)))
        sums = (carried * exp(-fall) + np.cumsum(part * growth)) / growth
        found[start : start + stretch] = sums
        carried = float(sums[-1])
    return found[::-1]


def epsilon_of(spendings: tuple[GaussianReleases, ...], delta: float) -> float:
    """The least epsilon at `delta`.  Never understated; infinite where memory does not suffice.

    spendings: each kind once
    """
    return max(total.epsilon(delta) for total in _totals(spendings, delta, tilted=True))


def deltas_of(spendings: tuple[GaussianReleases, ...], epsilons: np.ndarray) -> np.ndarray:
    """The delta at each epsilon, overstated by little.  (epsilons,) -> (epsilons,)

    spendings: each kind once
    """
    rounding = ROUNDING * sum(each.times * each.steps for each in spendings)
    removed, added = (total.deltas(epsilons) for total in _totals(spendings, LEAST, tilted=False))
    return np.asarray(np.maximum(removed, added) + rounding)


def repeated(once: Losses, step: float, times: int, delta: float) -> float:
    """Epsilon at `delta` of the same losses again and again, overstated by rounding alone."""
    known = np.flatnonzero(once.chances)
    nodes = Nodes((once.first + known) * step, np.log(once.chances[known]))
    spendings = (GaussianReleases(rate=1.0, noise=1.0, times=times),)  # only the times count
    moments = Moments(spendings, [nodes], step)
    window = moments.window(moments.tilt(delta), CUT)
    return _total(spendings, [once], step, window).epsilon(delta)


def _totals(spendings: tuple[GaussianReleases, ...], delta: float, tilted: bool) -> list[Total]:
    """Losses of all releases, of a record that is removed and of one that is added."""
    reach = _reach(delta * SPARE / sum(each.times * each.steps for each in spendings))
    releases = [_release(each, reach) for each in spendings]
    widest = max(greatest - least for least, greatest in (each.ends() for each in releases))
    step = max(_step(spendings), widest / POINTS)
    windows = _windows(spendings, releases, step, delta, tilted)
    while (widest := max(window.high - window.low for window in windows)) > POINTS * step:
        step = 1.1 * widest / POINTS
        windows = _windows(spendings, releases, step, delta, tilted)
    losses = [release.on(step) for release in releases]
    return [
        _total(spendings, [each[way] for each in losses], step, windows[way]) for way in DIRECTIONS
    ]


def _windows(
    spendings: tuple[GaussianReleases, ...],
    releases: Sequence[Release | Mixture],
    step: float,
    delta: float,
    tilted: bool,
) -> list[Window]:
    """Where losses are looked at, of a record that is removed and of one that is added."""
    nodes = [release.nodes(step) for release in releases]
    found = []
    for way in DIRECTIONS:
        moments = Moments(spendings, [each[way] for each in nodes], step)
        window = (
            moments.window(moments.tilt(delta), CUT) if tilted else moments.window(0.0, -log(delta))
        )
        found.append(window)
    return found


def _release(each: GaussianReleases, reach: float) -> Release | Mixture:
    usual = Release(min(1.0, each.rate), each.noise, reach)
    if not each.rare:
        return usual
    return Mixture(usual, replace(usual, noise=each.farthest().noise), each.rare)


def _reach(chance: float) -> float:
    """Deviations of the noise that it exceeds with that chance."""
    from scipy.special import ndtri

    return float(-ndtri(max(chance, 1e-300)))


def _step(spendings: tuple[GaussianReleases, ...]) -> float:
    """The step between two losses: the mean of what suits each release, as variances add up."""
    releases = np.array([each.times * each.steps * each.chance for each in spendings])
    steps = np.array([_alone(each.rate, each.noise) for each in spendings])
    return float((releases @ steps**2 / releases.sum()) ** 0.5)


def _alone(rate: float, noise: float) -> float:
    """The step that suits one release."""
    usual = rate * expm1(min(noise**-2, 50.0)) ** 0.5  # about the standard deviation of its loss
    return float(min(GRID * max(1.0, (COARSER / noise) ** 2), max(FINE * usual, FINEST)))


def _total(
    spendings: tuple[GaussianReleases, ...], releases: list[Losses], step: float, window: Window
) -> Total:
    """Losses of all releases within a window.

    What lies below it turns up above, less likely than it is below: nothing is understated.
    """
    from scipy.fft import irfft, next_fast_len, rfft

    first = floor(window.low / step)
    size = next_fast_len(ceil(window.high / step) - first + 1, real=True)
    product = np.ones(size // 2 + 1, np.complex128)
    growth = 0.0
    for each, release in zip(spendings, releases, strict=True):
        places, chances, grown = release.tilted(window.tilt * step)
        transform = rfft(np.bincount(places % size, chances, size)) ** each.steps
        round = float(by_chance(each, each.steps * np.array(grown)))
        if each.chance < 1:
            absent = exp(log1p(-each.chance) - round)
            transform = absent + (1 - absent) * transform
        product *= transform**each.times
        growth += each.times * round
    losses = (first + np.arange(size)) * step
    chances = np.maximum(np.roll(irfft(product, size), -first), 0.0)
    infinite = sum(
        each.times * each.steps * each.chance * release.infinite
        for each, release in zip(spendings, releases, strict=True)
    )
    infinite += MARGIN * exp(min(0.0, growth - window.tilt * losses[-1] - window.cut))
    return Total(losses, chances, window.tilt, growth, infinite)
