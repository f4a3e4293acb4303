"""Labels that an attack names: how many are right, and how many a guess would have right."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import stream

DRAWS = 4_000


def labels_right(guessed: Tensor, true: Tensor) -> int:
    """How many of the guessed labels are right, as multisets.  guessed (guesses,), true (examples,)

    A label that is guessed more often than it is there is right as often as it is there.
    """
    if not len(guessed):
        return 0
    classes = int(max(guessed.max(), true.max())) + 1
    mine = torch.bincount(guessed, minlength=classes)
    yours = torch.bincount(true, minlength=classes)
    return int(torch.minimum(mine, yours).sum())


def label_share(guessed: Tensor, true: Tensor) -> float:
    """`labels_right` as a share of the true labels, or of the guesses where there are more.

    A label that was not named counts as wrong.  Guesses beyond the true number lower the share.
    """
    return labels_right(guessed, true) / max(len(guessed), len(true))


def even_share(count: int, true: Tensor, classes: int) -> float:
    """`label_share` of `count` labels spread evenly, expected over which classes get one more."""
    each, rest = divmod(count, classes)
    there = torch.bincount(true, minlength=classes)
    less, more = there.clamp(max=each).sum(), there.clamp(max=each + 1).sum()
    return float(less + (more - less) * rest / classes) / max(count, len(true))


def by_luck(right: int, count: int, true: Tensor, classes: int) -> float:
    """Chance that of `count` labels drawn at random so many or more are right, as multisets.

    true (examples,).  From 4,000 draws, always the same.
    """
    there = np.bincount(true.numpy(), minlength=classes)
    drawn = stream(0, "luck").multinomial(count, [1 / classes] * classes, DRAWS)  # (draws, classes)
    return float((np.minimum(drawn, there).sum(axis=1) >= right).mean())
