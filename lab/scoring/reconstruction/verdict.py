"""Verdicts: what a reconstruction comes to, in one of five words, from thresholds on PSNR.

Nothing is called a leak that could have been guessed: the thresholds are what guesses without the
gradient reach for the same examples, and how alike two training examples are.
"""

from __future__ import annotations

EXACT = 60.0  # dB and more: what is left is rounding
GAIN = 1.0  # dB over what it is compared with, before anything counts
LUCK = 0.05  # chance of as many right labels among labels drawn at random, below which they count

# From the mildest to the gravest; each verdict begins with one of these.
NOTHING, CLASS, RECOGNISABLE, PARTLY, ALL = (
    "no better than a guess",
    "class only",
    "recognisable",
    "partly exact",
    "exact",
)
VERDICTS = (NOTHING, CLASS, RECOGNISABLE, PARTLY, ALL)


def reconstruction_verdict(
    exact: int, private: int, gain: float, nearer: float, luck: float = 1.0, guessed: int = 0
) -> str:
    """The verdict in words.

    exact: private examples that came back at `EXACT` dB or more; private: how many there are
    gain: dB over a guess without the gradient, the least over all such guesses
    nearer: dB over the most similar other training example
    luck: chance to name as many labels
    guessed: exact examples that a guess without the gradient has at `EXACT` dB, too

    `gain` and `nearer` are medians of differences, example by example, so no one picture decides.
    """
    if exact > guessed:
        return ALL if exact == private else f"{PARTLY}: {exact} of {private} exact"
    if gain > GAIN and nearer > GAIN:
        return f"{RECOGNISABLE}: nearer than any other training example"
    if gain > GAIN:
        return f"{CLASS}: better than a guess, not nearer than another training example"
    if luck < LUCK:
        return f"{CLASS}: the labels are right, what is shown is no better than a guess"
    return f"{NOTHING} without the gradient"
