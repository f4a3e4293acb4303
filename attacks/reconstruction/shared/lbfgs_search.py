"""The search that the leakage attacks share: L-BFGS down the distance between two gradients.

In float64 with a line search, where float32 stalls far from the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import inf

import torch
from torch import Tensor

STRIDE = 10  # iterations between two guesses
# Relative squared distances from the gradient: no other start would come closer, and no further
# step would show.
FOUND, EXACT = 1e-6, 1e-8
PATIENCE = 10  # strides in which a search has to come a tenth closer, or it is stuck


def descend(
    free: list[Tensor],
    causes: Callable[[], Tensor],
    gradient: Tensor,
    iterations: int,
    scaled: bool = False,
) -> Iterator[float]:
    """Moves what is free; its relative squared distance from the gradient every `STRIDE` steps.

    causes: the gradient (params,) that what is free would cause, differentiable
    scaled: whether the one that was seen may have any length, so that the one which fits best
    counts, in closed form
    """
    size = gradient.square().sum().clamp_min(1e-300)
    search = torch.optim.LBFGS(
        free,
        max_iter=STRIDE,
        history_size=50,
        line_search_fn="strong_wolfe",
        tolerance_grad=0,
        tolerance_change=0,
    )

    def distance() -> Tensor:
        search.zero_grad()
        loss = _apart(causes(), gradient, size, scaled)
        loss.backward(inputs=free)
        return loss.detach()

    distances: list[float] = []
    for _ in range(0, iterations, STRIDE):
        search.step(distance)
        objective = float(distance())
        if objective != objective:  # the search has left the numbers
            return
        yield objective
        distances.append(objective)
        if objective < EXACT or objective > 0.9 * min(distances[:-PATIENCE], default=inf):
            return


def _apart(caused: Tensor, seen: Tensor, size: Tensor, scaled: bool) -> Tensor:
    """The least |c caused - seen|^2 / |seen|^2 over c >= 0 is 1 - cos^2; for c = 1 otherwise."""
    if not scaled:
        return (caused - seen).square().sum() / size
    factor = (caused @ seen).clamp_min(0) / caused.square().sum().clamp_min(1e-300)
    return (factor * caused - seen).square().sum() / size
