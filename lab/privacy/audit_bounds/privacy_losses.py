"""Privacy losses of sampled Gaussian mechanisms, fast enough to be asked for in every round.

`lab.privacy.accounting` gives the same epsilon, on finer grids and in more time.  Dots are
connected as by Doroshenko et al. 2022, arXiv:2207.04380: hiding is understated, never overstated,
so that a trade-off curve from here excludes nothing that the true one allows.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, expm1, floor, log, log1p

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases

FINE = 0.05  # of one loss's standard deviation, at most, is the step of the grid
BEYOND = 9.0  # standard deviations of the noise, where no mass is left
CUT = 1e-12  # chance of a loss that is left out at either end
TILTS = np.geomspace(0.02, 20, 8)  # exponents in Chernoff's bound
POINTS = 2**15  # of the grid, at most
HIGHEST = 700.0  # loss whose exponential is a number


@dataclass(frozen=True, eq=False)
class PrivacyLossDistribution:
    """Of all releases together: how likely each loss is for a canary that is in."""

    values: np.ndarray  # (losses,) rising
    inside: np.ndarray  # (losses,) chances; what is missing to 1 is an infinite loss
    outside: np.ndarray  # (losses,) chances of the same for a canary that is out

    def curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Chances of a false alarm and of a canary that is caught.  Both (losses + 1,), rising."""
        # The surest sign first; between two thresholds one may toss a coin.
        alarms = np.append(0.0, np.cumsum(self.outside[::-1]))
        certain = max(0.0, 1 - float(self.inside.sum()))
        return alarms, certain + np.append(0.0, np.cumsum(self.inside[::-1]))

    def missed(self, alarms: float) -> float:
        """The least chance to miss a canary that is in, at that chance of a false alarm."""
        return float(max(0.0, 1 - np.interp(alarms, *self.curve())))

    def wrong(self, share: float) -> float:
        """The least share of wrong answers, where that share of the canaries is in."""
        return float(np.minimum(share * self.inside, (1 - share) * self.outside).sum())

    def epsilon(self, delta: float) -> float:
        """The least that holds with `delta` for a canary that is in."""
        inside = 1 - self.inside.sum() + np.cumsum(self.inside[::-1])[::-1]
        outside = np.cumsum(self.outside[::-1])[::-1]
        # Beyond a loss, delta is what is likelier inside than e^epsilon times outside.
        deltas = inside - np.exp(np.minimum(self.values, HIGHEST)) * outside
        place = int((deltas <= delta).argmax())
        if deltas[place] > delta or not outside[place] > 0:
            return HIGHEST  # more than can be counted
        return min(HIGHEST, max(0.0, log(max(inside[place] - delta, 1e-300) / outside[place])))


def losses(claim: tuple[GaussianReleases, ...]) -> PrivacyLossDistribution:
    """Of all that was released."""
    finest = min(_step(each) for each in claim)
    low, high = _window(claim, [_release(each, finest) for each in claim], finest)
    step = max(finest, (high - low) / (POINTS - 2))
    first, last = floor(low / step), ceil(high / step)
    size = 1 << (last - first).bit_length()
    total = np.ones(size // 2 + 1, np.complex128)
    for each in claim:
        start, chances = _release(each, step)
        places = np.arange(start, start + len(chances)) % size
        round = np.fft.rfft(np.bincount(places, chances, size)) ** each.steps
        total *= (1 - each.chance + each.chance * round) ** each.times
    chances = np.roll(np.fft.irfft(total, size), -first)[: last - first + 1]
    values = np.arange(first, last + 1) * step
    inside = np.maximum(chances, 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        outside = np.where(inside > 0, inside * np.exp(-values), 0.0)
    return PrivacyLossDistribution(values, inside, outside)


def _step(each: GaussianReleases) -> float:
    """Fine beside the standard deviation of one release's loss."""
    usual = each.rate * min(expm1(min(each.noise**-2, 50.0)) ** 0.5, 10 / each.noise)
    return float(max(FINE * usual, 1e-6))


def _release(each: GaussianReleases, step: float) -> tuple[int, np.ndarray]:
    """Chances of one release's losses, on the grid from `start` steps on.  (losses,)

    Losses are what a Gaussian says for a canary in with chance `rate` against one that is out.
    """
    from scipy.special import ndtr

    rate, noise = each.rate, each.noise
    ends = [_loss(place, rate, noise) for place in (-BEYOND * noise, 1 + BEYOND * noise)]
    start, stop = floor(ends[0] / step), ceil(ends[1] / step)
    ratios = np.exp(np.minimum(np.arange(start, stop + 1) * step, HIGHEST))
    with np.errstate(divide="ignore", invalid="ignore"):
        over = np.maximum(ratios - 1 + rate, 0.0)
        place = noise**2 * np.log(over / rate) + 0.5  # where the noisy sum has that loss
        gaps = rate * ndtr((1 - place) / noise) - over * ndtr(-place / noise)
    gaps = np.where(over > 0, gaps, 1 - ratios)  # delta at each loss, falling and convex
    # A line from dot to dot bends in the dots only, and there the mass is.
    falls = np.diff(gaps) / expm1(step)
    chances = np.append(falls, 0.0) - np.append(gaps[0] - 1, falls * np.exp(step))
    return start, np.maximum(chances, 0.0)


def _loss(place: float, rate: float, noise: float) -> float:
    """Of a noisy sum at `place`, where a canary adds 1."""
    shifted = (2 * place - 1) / (2 * noise**2)
    if rate >= 1:
        return shifted
    return float(np.logaddexp(log1p(-rate), log(rate) + shifted))


def _window(
    claim: tuple[GaussianReleases, ...], releases: list[tuple[int, np.ndarray]], step: float
) -> tuple[float, float]:
    """Between which all but `CUT` of the losses lie, by Chernoff's bound."""
    ends = []
    for sign in (-1, 1):
        grown = np.zeros(len(TILTS))  # log of the mean of e^(tilt times loss)
        for each, (start, chances) in zip(claim, releases, strict=True):
            values = np.arange(start, start + len(chances)) * step
            known = chances > 0
            powers = np.log(chances[known]) + np.multiply.outer(sign * TILTS, values[known])
            top = powers.max(axis=1)
            one = each.steps * (top + np.log(np.exp(powers - top[:, None]).sum(axis=1)))
            if each.chance < 1:
                one = np.logaddexp(log1p(-each.chance), log(each.chance) + one)
            grown += each.times * one
        ends.append(sign * float(((grown - log(CUT)) / TILTS).min()))
    return min(ends[0], 0.0), max(ends[1], 0.0)
