"""Gaussians of shadow models' signals on each example, also for few shadow models.

With eight models a side, the variance of one example is hardly known, and its likelihood ratio is
mostly noise.  Shrinkage borrows from examples of similar difficulty: the variance is shrunk towards
theirs, and so is the gap between models trained on the example and models not trained on it.
(Empirical Bayes as in Braennvall 2026, arXiv:2603.11799, for the variance; the gap is our own.)

Only shadow models' signals are borrowed, never those of the model under attack: no candidate's
score depends on its answers for others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log, tau
from typing import Literal

import torch
from torch import Tensor

from lab.common.settings import SettingError
from lab.interfaces.attack_data import MembershipSignals

Variance = Literal["per-example", "pooled", "shrunk"]
Centre = Literal["median", "mean"]
VARIANCE_COUNTS = 16  # models that the others' variance is worth
GAP_COUNTS = 8  # models that the others' gap is worth
ALIKE = 200  # examples that are as hard
LEAST = 1e-30  # added to every deviation, as the authors of LiRA do


@dataclass(frozen=True, eq=False)
class Gaussian:
    """One Gaussian for each example."""

    mean: Tensor  # (examples,)
    deviation: Tensor  # (examples,)

    def standing(self, values: Tensor) -> Tensor:
        """Return each value's distance above its mean in standard deviations.  -> (examples,)"""
        return (values.double() - self.mean) / self.deviation

    def log_density(self, values: Tensor) -> Tensor:
        """Return the log density of each value.  -> (examples,)"""
        return -0.5 * (self.standing(values).square() + log(tau)) - self.deviation.log()


@dataclass(frozen=True, eq=False)
class Side:
    """Statistics of the models on one side, for each example.  All (examples,) float64."""

    count: Tensor
    mean: Tensor
    median: Tensor
    square: Tensor  # sum of the squared distances from the mean

    @classmethod
    def of(cls, values: Tensor, chosen: Tensor) -> Side:
        """Compute the statistics of one side.

        values (models, examples), chosen (models, examples) bool: the models on this side
        A model that overflowed is left out.
        """
        values, chosen = values.double(), chosen & values.isfinite()
        count = chosen.sum(dim=0).double()
        mean = values.where(chosen, 0).sum(dim=0) / count  # NaN where there is no model
        square = (values - mean).where(chosen, 0).square().sum(dim=0)
        return cls(count, mean, values.where(chosen, torch.nan).nanquantile(0.5, dim=0), square)

    @property
    def freedom(self) -> Tensor:
        return (self.count - 1).clamp_min(0)

    def centre(self, kind: Variance, centre: Centre) -> Tensor:
        """Return the means, NaN where there is no model.  -> (examples,)"""
        return self.median if (kind, centre) == ("per-example", "median") else self.mean

    def deviation(self, kind: Variance, hardness: Tensor) -> Tensor:
        """Return standard deviations, shrunk among examples of similar hardness (examples,).

        -> (examples,)
        """
        common = self.square.sum() / self.freedom.sum()  # each about its own mean
        if kind == "pooled":
            variance = common.expand_as(self.square)
        elif kind == "per-example":  # a lone model has none of its own
            variance = (self.square / self.count).where(self.count > 1, common)
        else:
            squares = _among_alike(hardness, self.square).clamp_min(0)  # rounding may go below
            borrowed = squares / _among_alike(hardness, self.freedom)
            variance = self.square + VARIANCE_COUNTS * borrowed.where(borrowed.isfinite(), common)
            variance = variance / (self.freedom + VARIANCE_COUNTS)
        return variance.sqrt() + LEAST


def check(evidence: MembershipSignals, kind: str) -> None:
    """Raise SettingError where there are no models to compare with."""
    if not len(evidence.shadows):
        raise SettingError(
            f"{kind} compares with shadow models, and was given none: give {kind}.shadows 4 or more"
        )


def sides(evidence: MembershipSignals, kind: str) -> tuple[Side, Side]:
    """Return the sides of models trained on each candidate, and of models not trained on it."""
    check(evidence, kind)
    values, inside = evidence.shadows, evidence.inside
    return Side.of(values, inside), Side.of(values, ~inside)


def outsider(
    evidence: MembershipSignals, kind: str, variance: Variance, centre: Centre
) -> Gaussian:
    """Return the Gaussians of models not trained on each candidate; if none, of the average one.

    centre: of Gaussians with a variance of their own; shrunk ones are centred on the mean
    """
    _, outside = sides(evidence, kind)
    _enough(outside, kind)
    mean = outside.centre(variance, centre)
    mean = mean.where(outside.count > 0, mean.nanmean())
    return Gaussian(mean, outside.deviation(variance, mean))


def both(
    evidence: MembershipSignals, kind: str, variance: Variance, centre: Centre
) -> tuple[Gaussian, Gaussian]:
    """Return Gaussians of models trained on each candidate, and of models not trained on it.

    Where all models of a candidate are on one side, the other is placed at the usual gap.
    """
    inside, outside = sides(evidence, kind)
    _enough(inside, kind)
    _enough(outside, kind)
    with_it, without = (side.centre(variance, centre) for side in (inside, outside))
    usual = (with_it - without).nanmean()
    without = without.where(outside.count > 0, with_it - usual)
    with_it = with_it.where(inside.count > 0, without + usual)
    hardness = (with_it + without) / 2
    spreads = [side.deviation(variance, hardness) for side in (inside, outside)]
    if variance == "shrunk":
        gap = with_it - without
        borrowed = _among_alike(hardness, gap) / _among_alike(hardness, torch.ones_like(gap))
        gap = (inside.count * gap + GAP_COUNTS * borrowed) / (inside.count + GAP_COUNTS)
        # Once the gap is known, models on either side tell where both means are.
        trust = [
            side.count / spread**2 for side, spread in zip((inside, outside), spreads, strict=True)
        ]
        without = (trust[0] * (with_it - gap) + trust[1] * without) / (trust[0] + trust[1])
        with_it = without + gap
    return Gaussian(with_it, spreads[0]), Gaussian(without, spreads[1])


def _enough(side: Side, kind: str) -> None:
    if not side.freedom.sum() > 0:
        raise SettingError(
            f"{kind}.shadows is too few: a variance takes two models on each side of a candidate, "
            "so give 4 or more"
        )


def _among_alike(hardness: Tensor, values: Tensor) -> Tensor:
    """Sum over examples of nearest hardness rank.  hardness, values (examples,) -> (examples,)"""
    order, size = hardness.argsort(stable=True), len(values)
    totals = torch.cat([values.new_zeros(1), values[order].cumsum(dim=0)])  # (examples + 1,)
    width = min(ALIKE, size)
    first = (torch.arange(size) - width // 2).clamp(0, size - width)
    found = torch.empty_like(values)
    found[order] = totals[first + width] - totals[first]
    return found
