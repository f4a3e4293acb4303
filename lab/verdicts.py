"""Verdicts: what a reconstruction comes to, in one of four words, from thresholds on PSNR.

Nothing is called a leak that could have been guessed: the thresholds are what the best guess
without the gradient reaches for the same examples, and how alike two training examples are.
"""

from __future__ import annotations

EXACT = 60.0  # dB, and more for every example; what is left is rounding
GAIN = 1.0  # dB over what it is compared with, before anything counts
LUCK = 0.05  # chance of as many right labels among labels drawn at random, below which they count

# From the mildest to the gravest; each verdict begins with one of these.
NOTHING, CLASS, RECOGNISABLE, ALL = (
    "no better than a guess",
    "class only",
    "recognisable",
    "exact",
)
VERDICTS = (NOTHING, CLASS, RECOGNISABLE, ALL)


def verdict(median: float, worst: float, floor: float, nearest: float, luck: float = 1.0) -> str:
    """All but `luck` in dB.  A median, so that no one picture decides.

    floor: of the best guess without the gradient; nearest: of the most similar other training
    example; luck: chance to name as many labels
    """
    if worst >= EXACT:
        return ALL
    if median > max(nearest, floor) + GAIN:
        return f"{RECOGNISABLE}: nearer than any other training example"
    if median > floor + GAIN:
        return f"{CLASS}: better than a guess, not nearer than another training example"
    if luck < LUCK:
        return f"{CLASS}: the labels are right, what is shown is no better than a guess"
    return f"{NOTHING} without the gradient"
