"""Headcount: how many examples of each class an attack found, beside an even guess."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.common.settings import Settings
from lab.scoring.reconstruction._labels import even_share, label_share

GAIN = 0.05  # share of labels over the even guess, before anything is called a leak


class Headcount(Settings):
    """The score of a guess that names labels and shows no picture."""

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


def headcount(guessed: Tensor, true: Tensor, classes: int) -> Headcount:
    """guessed (guesses,), true (examples,)"""
    return Headcount(
        guessed=tuple(torch.bincount(guessed, minlength=classes).tolist()),
        true=tuple(torch.bincount(true, minlength=classes).tolist()),
        right=label_share(guessed, true),
        floor=even_share(len(guessed), true, classes),
    )
