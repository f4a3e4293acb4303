"""Inverting gradients. Geiping et al. 2020, arXiv:2003.14053, section 4.

Cosine distance between gradients plus total variation, by Adam on the sign of the derivative.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import cos, pi
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from attacks.gradients import gradient_of, label_counts, labels_from, legal, observe
from lab.parts import Reconstruction
from lab.rng import normal, stream
from lab.views import Guess, ServerView

GUESSES = 50  # shown on the way
DECAYS = 0.9, 0.999  # Adam's


class InvertingGradients(Reconstruction):
    """Match the gradient's direction and prefer smooth pictures: works on ReLU models too."""

    kind: Literal["inverting-gradients"] = "inverting-gradients"
    source: ClassVar[str] = "Geiping et al. 2020, arXiv:2003.14053, section 4"
    attacker: ClassVar[str] = "an honest-but-curious server"
    knows: ClassVar[str] = "the architecture, the training recipe, that pictures are smooth"
    fails: ClassVar[str] = "many examples or local steps behind a row, noise"
    iterations: int = Field(600, ge=10, le=30_000, description="steps of signed Adam")
    rate: float = Field(0.1, gt=0, le=1, description="step size at the start; decays to zero")
    smooth: float = Field(0.01, ge=0, le=10, description="weight of the total variation")
    most: int = Field(8, ge=1, le=64, description="examples reconstructed at most")
    seed: int = Field(0, ge=0, le=2**31, description="of the random start")

    def __call__(self, view: ServerView, target: int) -> Iterator[Guess]:
        """`GUESSES` guesses on the way; the last is the one of the lowest objective."""
        seen = observe(view, target)
        labels, gradient = labels_from(label_counts(view, seen), self.most), seen.gradient.float()
        sent = view.sent.clone().requires_grad_(True)
        start = normal(stream(self.seed, "inverting"), len(labels), *view.network.shape)
        inputs = start.mul_(0.1).add_(0.5).requires_grad_(True)
        slow, fast = torch.zeros_like(inputs), torch.zeros_like(inputs)
        best, lowest = inputs.detach().clone(), float("inf")
        stride = max(1, self.iterations // GUESSES)
        for step in range(1, self.iterations + 1):
            guess = gradient_of(view, sent, inputs, labels)
            distance = 1 - F.cosine_similarity(guess, gradient, dim=0, eps=1e-20)
            objective = distance + self.smooth * total_variation(inputs)
            if (reached := objective.item()) < lowest:
                best, lowest = inputs.detach().clone(), reached
            if step % stride == 0 or step == self.iterations:
                yield Guess(legal(best, view), labels, step, self.iterations, lowest)
            slope = torch.autograd.grad(objective, inputs)[0].nan_to_num().sign()
            slow = DECAYS[0] * slow + (1 - DECAYS[0]) * slope
            fast = DECAYS[1] * fast + (1 - DECAYS[1]) * slope.square()
            move = (
                slow / (1 - DECAYS[0] ** step) / (fast / (1 - DECAYS[1] ** step)).sqrt().add(1e-8)
            )
            rate = self.rate * (1 + cos(pi * step / self.iterations)) / 2
            inputs = (inputs.detach() - rate * move).clamp_(*_box(view)).requires_grad_(True)


def total_variation(inputs: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels; zero for the rows of a table."""
    if inputs.ndim < 4:
        return inputs.new_zeros(())
    down, right = inputs.diff(dim=-2).abs().mean(), inputs.diff(dim=-1).abs().mean()
    return down + right


def _box(view: ServerView) -> tuple[float, float]:
    return (0.0, 1.0) if len(view.network.shape) == 3 else (-5.0, 5.0)
