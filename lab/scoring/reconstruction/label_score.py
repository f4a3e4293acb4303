"""Headcount: how many examples of each class an attack found, beside an even guess."""

from __future__ import annotations

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.common.settings import Settings

GAIN = 0.05  # share of labels over the even guess, before anything is called a leak


class LabelScore(Settings):
    """The score of a guess that names labels and shows no picture."""

    kind: Literal["labels"] = "labels"
    guessed: tuple[int, ...]  # of each class
    true: tuple[int, ...]
    right: float  # share of the true labels that were named, as multisets
    floor: float  # the same for labels spread evenly over the classes

    @property
    def verdict(self) -> str:
        if self.guessed == self.true:
            return "exact: how many there are of every class"
        if self.right > self.floor + GAIN:
            return "partial: better than an even guess"
        return "no better than an even guess"

    def lines(self) -> list[str]:
        return [
            self.verdict,
            f"labels right: {self.right:.0%} (evenly spread guess {self.floor:.0%})",
            "guessed of each class: " + ", ".join(map(str, self.guessed)),
            "true of each class: " + ", ".join(map(str, self.true)),
        ]


def label_score(guessed: Tensor, true: Tensor, classes: int) -> LabelScore:
    """guessed (guesses,), true (examples,)"""
    return LabelScore(
        guessed=tuple(torch.bincount(guessed, minlength=classes).tolist()),
        true=tuple(torch.bincount(true, minlength=classes).tolist()),
        right=label_share(guessed, true),
        floor=even_share(len(guessed), true, classes),
    )


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
    drawn = random_stream(0, "luck").multinomial(
        count, [1 / classes] * classes, DRAWS
    )  # (draws, classes)
    return float((np.minimum(drawn, there).sum(axis=1) >= right).mean())
