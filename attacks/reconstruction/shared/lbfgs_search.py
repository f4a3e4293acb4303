"""The search of the leakage attacks: L-BFGS on the distance between two gradients.

It runs in float64 with a line search, because float32 stalls far from the image.
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
    """Optimise the free tensors; yield the relative squared distance every `STRIDE` steps.

    causes: the gradient (params,) that the free tensors would cause, differentiable
    scaled: whether the gradient that was seen may have any length; then the best length counts,
    in closed form
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
    """Return |c caused - seen|^2 / |seen|^2: at the best c >= 0 (1 - cos^2), otherwise at c = 1."""
    if not scaled:
        return (caused - seen).square().sum() / size
    factor = (caused @ seen).clamp_min(0) / caused.square().sum().clamp_min(1e-300)
    return (factor * caused - seen).square().sum() / size
