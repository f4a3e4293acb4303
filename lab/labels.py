"""Labels that an attack names: how many are right, and how many a guess would have right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lab.rng import stream

DRAWS = 4_000


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


def by_luck(right: int, count: int, true: Tensor, classes: int) -> float:
    """Chance that of `count` labels drawn at random so many or more are right, as multisets.

    true (examples,).  From 4,000 draws, always the same.
    """
    there = np.bincount(true.numpy(), minlength=classes)
    drawn = stream(0, "luck").multinomial(count, [1 / classes] * classes, DRAWS)  # (draws, classes)
    return float((np.minimum(drawn, there).sum(axis=1) >= right).mean())
