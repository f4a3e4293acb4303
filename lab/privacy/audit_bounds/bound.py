"""What an audit proves: a lower bound on epsilon under a premise; or a mere estimate of it."""

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from lab.common.settings import SettingError, Settings

FEWEST = 20  # canaries in, and out; the strictest bound needs about as many to say anything

# What a bound assumes besides fair and independent coins, which put the canaries in.
Premise = Literal["Gaussian mechanism", "independent scores", "no assumption"]
GAUSSIAN: Premise = "Gaussian mechanism"  # sampled as claimed; only its noise is in doubt
INDEPENDENT: Premise = "independent scores"
NOTHING: Premise = "no assumption"
PREMISED: dict[Premise, str] = {
    GAUSSIAN: "which assumes a Gaussian mechanism",
    INDEPENDENT: "which assumes independent scores",
    NOTHING: "which assumes nothing of mechanism and scores",
}


class EpsilonBound(Settings):
    """With `confidence`, no mechanism with a smaller epsilon at `delta` gives such scores.

    That holds under its premise only: of a mechanism that is known not to fit, it bounds nothing.
    It holds for one look at one run.  A series of bounds, one a round, has that confidence for each
    of them, and less for all of them together.
    """

    method: str
    epsilon: float = Field(ge=0)
    delta: float
    confidence: float
    inside: int  # canaries that were in
    outside: int
    premise: Premise | None = None  # None: stored before it was noted
    assumption: str  # what must be true of the mechanism and the canaries, in words
    evidence: str  # what was counted, in words

    def breaks(self, claim: float) -> bool:
        """Whether it contradicts an epsilon that was claimed at the same delta."""
        return self.epsilon > claim

    def sentence(self) -> str:
        method = f"{self.method}, {PREMISED[self.premise]}" if self.premise else self.method
        return (
            f"epsilon is at least {self.epsilon:.2f} at delta {self.delta:.0e} ({method}, "
            f"{self.confidence:.0%} confidence, {self.inside:,} canaries in and "
            f"{self.outside:,} out)"
        )

    def detection(self) -> str:
        """What is left of it where the mechanism is known not to fit the premise."""
        return (
            f"no bound by {self.method}: the mechanism is known not to be Gaussian as claimed "
            f"(its scores look like epsilon {self.epsilon:.2f})"
        )


class EpsilonEstimate(Settings):
    """A guess at epsilon.  About half the time it exceeds the truth: never draw it as a bound."""

    method: str
    epsilon: float = Field(ge=0)
    delta: float
    inside: int
    outside: int
    assumption: str

    def sentence(self) -> str:
        return (
            f"epsilon may be about {self.epsilon:.2f} at delta {self.delta:.0e} ({self.method}, no "
            f"confidence, {self.inside:,} canaries in and {self.outside:,} out)"
        )


def checked(
    inside: np.ndarray, outside: np.ndarray, delta: float, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """The scores as float64; what is no number is the least sign of being in.

    Raises SettingError where nothing can be proven from them.
    """
    for name, scores in (("inside", inside), ("outside", outside)):
        if np.ndim(scores) != 1 or len(scores) < FEWEST:
            raise SettingError(
                f"{name} holds scores of {np.size(scores)} canaries: give at least {FEWEST} that "
                "were in and as many that were out"
            )
    if not 0 < delta < 1:
        raise SettingError(f"delta is {delta:g}: it should lie between 0 and 1")
    if not 0.5 <= confidence < 1:
        raise SettingError(f"confidence is {confidence:g}: give 0.5 or more, and less than 1")
    known = [np.asarray(scores, np.float64) for scores in (inside, outside)]
    return np.where(np.isnan(known[0]), -np.inf, known[0]), np.where(
        np.isnan(known[1]), -np.inf, known[1]
    )
