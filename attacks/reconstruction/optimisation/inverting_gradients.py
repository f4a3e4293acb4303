"""Inverting gradients. Geiping et al. 2020, arXiv:2003.14053, sections 4 and 5.

The objective is the cosine distance between updates plus total variation.  Adam follows the sign of
the derivative, and its steps shrink to zero along a cosine.  A start may end beside the picture, so
several are tried for a short while.  All may also go on and be drawn towards their mean (group
consistency: Yin et al. 2021, arXiv:2104.07586, section 3.3).  Their term for the statistics of
batch
normalisation does not apply: no model of the lab has such layers.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from attacks.reconstruction.shared.observed_gradient import legal, total_variation, whole
from attacks.reconstruction.shared.search_budget import Pace
from attacks.reconstruction.shared.simulated_update import Causation
from lab.common.random_streams import normal, random_stream
from lab.interfaces.attack_data import ReconstructedBatch
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.interfaces.views import AuxiliaryInfo, ServerView

DECAYS = 0.9, 0.999  # Adam's
TRIAL = 0.1  # of the way, after which only the best of several starts goes on


class InvertingGradients(ReconstructionAttack):
    """Matches the gradient's direction and favours smooth pictures; also works on ReLU models."""

    kind: Literal["inverting-gradients"] = "inverting-gradients"
    title: ClassVar[str] = "Inverting gradients"
    source: ClassVar[str] = "Geiping et al. 2020, arXiv:2003.14053, section 4"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture, the training recipe, and that pictures are smooth"
    fails: ClassVar[str] = "many examples or local steps behind an update, noise"
    iterations: int = Field(
        1000, ge=10, le=30_000, description="largest number of steps of signed Adam"
    )
    seconds: float = Field(300.0, ge=1, le=3600, description="time limit of the search, in seconds")
    rate: float = Field(0.1, gt=0, le=1, description="step size at the start; it decays to zero")
    smooth: float = Field(
        0.01, ge=0, le=10, description="weight of the total variation, summed over examples"
    )
    restarts: int = Field(
        4,
        ge=1,
        le=64,
        description="number of random starts; the best continues after a tenth of the search",
    )
    agree: float = Field(
        0.0,
        ge=0,
        le=10,
        description=(
            "strength that draws the starts towards their mean; above 0 all starts continue"
        ),
    )
    unroll: int = Field(
        10,
        ge=1,
        le=100,
        description="largest number of local steps that it simulates; 1: one mean gradient",
    )
    most: int = Field(8, ge=1, le=64, description="largest number of examples to reconstruct")
    seed: int = Field(0, ge=0, le=2**31, description="seed of the random starts")

    def __call__(
        self, view: ServerView, target: int, known: AuxiliaryInfo
    ) -> Iterator[ReconstructedBatch]:
        """Yield several guesses a second; the last has the lowest objective."""
        whole(view, self.kind)
        cause = Causation.of(view, target, known, self.most, self.unroll, torch.float32)
        inputs = self._start(view, len(cause.labels))  # (restarts, examples, *shape)
        slow, fast = torch.zeros_like(inputs), torch.zeros_like(inputs)
        best, lowest = inputs[0].clone(), float("inf")
        pace = Pace(self.iterations, self.seconds)
        while pace.tick():
            objectives, slopes = self._look(cause, inputs)
            if (reached := float(objectives.min())) < lowest:
                best, lowest = inputs[objectives.argmin()].clone(), reached
            stuck = pace.stuck(reached)
            if pace.shows() or stuck:
                yield ReconstructedBatch(
                    legal(best, view),
                    cause.labels,
                    pace.step,
                    self.iterations,
                    lowest,
                    starts=self.restarts,
                )
            if stuck:
                return
            slope = slopes.nan_to_num().sign()
            slow = DECAYS[0] * slow + (1 - DECAYS[0]) * slope
            fast = DECAYS[1] * fast + (1 - DECAYS[1]) * slope.square()
            move = slow / (1 - DECAYS[0] ** pace.step)
            move /= (fast / (1 - DECAYS[1] ** pace.step)).sqrt().add(1e-8)
            rate = self.rate * (1 + cos(pi * min(1.0, pace.spent))) / 2
            inputs = (inputs - rate * move).clamp_(*_box(view))
            if len(inputs) > 1 and not self.agree and pace.spent >= TRIAL:
                first = objectives.argmin().view(1)
                inputs, slow, fast = inputs[first], slow[first], fast[first]

    def _start(self, view: ServerView, examples: int) -> Tensor:
        """Return noise around grey.  -> (restarts, examples, *shape)"""
        drawn = normal(
            random_stream(self.seed, "inverting"), self.restarts, examples, *view.network.shape
        )
        return drawn.mul_(0.1).add_(0.5)

    def _look(self, cause: Causation, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return each start's objective and its derivative.

        inputs (restarts, examples, *shape) -> (restarts,), (restarts, examples, *shape)
        """
        mean = inputs.mean(dim=0)
        objectives, slopes = [], []
        for own in inputs:  # one by one: side by side in vmap takes longer
            free = own.clone().requires_grad_(True)
            row, rough = cause(free, cause.labels), total_variation(free)
            distance, slope = from_row(row.detach(), cause.row)
            uphill = [slope, torch.tensor(self.smooth)]
            (found,) = torch.autograd.grad([row, rough], free, uphill)
            slopes.append(found + self.agree * 2 * (own - mean) / own.numel())
            objectives.append(distance + self.smooth * rough.detach())
        return torch.stack(objectives), torch.stack(slopes)


def from_row(row: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """Return 1 - the cosine between two rows, and its derivative by the first."""
    length, other = row.norm().clamp_min(1e-20), seen.norm().clamp_min(1e-20)
    cosine = row @ seen / (length * other)
    return 1 - cosine, (cosine / length.square()) * row - seen / (length * other)


def _box(view: ServerView) -> tuple[float, float]:
    return (0.0, 1.0) if len(view.network.shape) == 3 else (-5.0, 5.0)
