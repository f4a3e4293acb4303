"""Inverting gradients. Geiping et al. 2020, arXiv:2003.14053, section 4.

Cosine distance between gradients plus total variation, by Adam on the sign of the derivative.
The search may end beside the pictures, so it starts in several places at once.  After each quarter
of the way the half with the lower objective goes on: what the attacker itself can measure.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil, cos, pi
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor
from torch.func import grad, vmap

from attacks.gradients import label_counts, labels_from, legal, observe, whole
from lab.parts import Reconstruction
from lab.rng import normal, stream
from lab.views import Guess, Known, ServerView

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
    restarts: int = Field(8, ge=1, le=64, description="random starts, searched side by side")
    most: int = Field(8, ge=1, le=64, description="examples reconstructed at most")
    seed: int = Field(0, ge=0, le=2**31, description="of the random starts")

    def __call__(self, view: ServerView, target: int, known: Known) -> Iterator[Guess]:
        """`GUESSES` guesses on the way; the last is the one of the lowest objective."""
        whole(view, self.kind)
        seen = observe(view, target)
        labels, gradient = (
            labels_from(label_counts(view, seen, known), self.most),
            seen.gradient.float(),
        )
        start = normal(
            stream(self.seed, "inverting"), self.restarts, len(labels), *view.network.shape
        )
        inputs = start.mul_(0.1).add_(0.5).requires_grad_(True)  # (restarts, labels, *shape)
        slow, fast = torch.zeros_like(inputs), torch.zeros_like(inputs)
        best, lowest = inputs[0].detach().clone(), float("inf")
        stride, quarter = max(1, self.iterations // GUESSES), ceil(self.iterations / 4)
        for step in range(1, self.iterations + 1):
            guesses = gradients_of(view, inputs, labels)
            distances = 1 - F.cosine_similarity(guesses, gradient, dim=1, eps=1e-20)
            objectives = distances + self.smooth * total_variation(inputs)
            if (reached := objectives.min().item()) < lowest:
                best, lowest = inputs[objectives.argmin()].detach().clone(), reached
            if step % stride == 0 or step == self.iterations:
                yield Guess(legal(best, view), labels, step, self.iterations, lowest)
            slope = torch.autograd.grad(objectives.sum(), inputs)[0].nan_to_num().sign()
            slow = DECAYS[0] * slow + (1 - DECAYS[0]) * slope
            fast = DECAYS[1] * fast + (1 - DECAYS[1]) * slope.square()
            move = (
                slow / (1 - DECAYS[0] ** step) / (fast / (1 - DECAYS[1] ** step)).sqrt().add(1e-8)
            )
            rate = self.rate * (1 + cos(pi * step / self.iterations)) / 2
            inputs = (inputs.detach() - rate * move).clamp_(*_box(view))
            if step % quarter == 0:
                better = objectives.topk((len(inputs) + 1) // 2, largest=False).indices
                inputs, slow, fast = inputs[better], slow[better], fast[better]
            inputs.requires_grad_(True)


def gradients_of(view: ServerView, inputs: Tensor, labels: Tensor) -> Tensor:
    """The gradient that each restart's examples would have caused, differentiable in the inputs.

    inputs (restarts, labels, *shape) -> (restarts, params)
    """

    def loss(params: Tensor, mine: Tensor) -> Tensor:
        return F.cross_entropy(view.network(params, mine), labels)

    gradients: Tensor = vmap(grad(loss), in_dims=(None, 0))(view.sent, inputs)
    return gradients


def total_variation(inputs: Tensor) -> Tensor:
    """Mean absolute difference of neighbouring pixels; zero for the rows of a table.

    inputs (restarts, labels, *shape) -> (restarts,)
    """
    if inputs.ndim < 5:
        return inputs.new_zeros(len(inputs))
    down, right = inputs.diff(dim=-2).abs(), inputs.diff(dim=-1).abs()
    return down.flatten(1).mean(dim=1) + right.flatten(1).mean(dim=1)


def _box(view: ServerView) -> tuple[float, float]:
    return (0.0, 1.0) if len(view.network.shape) == 3 else (-5.0, 5.0)
