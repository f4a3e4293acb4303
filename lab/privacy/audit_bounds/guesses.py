"""Guesses about the surest canaries, and silence about the rest: how many is fixed beforehand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Guesses:
    """How many of the canaries were guessed at, and how many guesses were right."""

    canaries: int
    made: int
    right: int

    def sentence(self) -> str:
        return f"{self.right:,} of {self.made:,} guesses about {self.canaries:,} canaries are right"


def guesses(inside: np.ndarray, outside: np.ndarray, roots: float) -> Guesses:
    """The `roots` times root of all highest scores are called in, as many of the lowest out."""
    total = len(inside) + len(outside)
    called = min(round(roots * total**0.5), total // 2)
    right = _above(inside, outside, called) + _above(-outside, -inside, called)
    return Guesses(total, 2 * called, right)


def _above(sought: np.ndarray, others: np.ndarray, called: int) -> int:
    """How many of the highest scores belong to those who are sought.

    Of equal scores at the edge as many as there would be by chance, rounded down: whatever else
    breaks a tie may know who was in.
    """
    edge = np.sort(np.concatenate([sought, others]))[-called]
    above, tied = int((sought > edge).sum()), int((sought == edge).sum())
    places = called - above - int((others > edge).sum())
    return above + places * tied // (tied + int((others == edge).sum()))
