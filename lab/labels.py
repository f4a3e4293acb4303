"""Labels that an attack names: how many are right, and how many a guess would have right."""

from __future__ import annotations

from math import comb

import torch
from torch import Tensor


def label_share(guessed: Tensor, true: Tensor) -> float:
    """Share of the guessed labels that are right, as multisets: guessing more earns nothing."""
    classes = int(max(guessed.max(), true.max())) + 1
    mine, yours = (
        torch.bincount(guessed, minlength=classes),
        torch.bincount(true, minlength=classes),
    )
    return float(torch.minimum(mine, yours).sum()) / len(guessed)


def even_share(count: int, true: Tensor, classes: int) -> float:
    """`label_share` of `count` labels spread evenly, expected over which classes get one more."""
    each, rest = divmod(count, classes)
    there = torch.bincount(true, minlength=classes)
    less, more = there.clamp(max=each).sum(), there.clamp(max=each + 1).sum()
    return float(less + (more - less) * rest / classes) / count


def by_luck(right: int, count: int, classes: int) -> float:
    """Chance that of `count` labels, each drawn from all classes, so many or more are right."""
    hit = 1 / classes
    return sum(comb(count, k) * hit**k * (1 - hit) ** (count - k) for k in range(right, count + 1))
