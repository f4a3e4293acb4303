"""Leak: what the attack on one run came to, in the few words that fit into a table."""

from __future__ import annotations

from dataclasses import dataclass

from lab.likeness import GAIN
from lab.trial import Result


@dataclass(frozen=True)
class Leak:
    """The score of one attack.  Without pictures it has a verdict only."""

    attack: str
    round: int
    client: int | None
    examples: str  # behind the update
    accuracy: str  # of the model after the round
    verdict: str
    median: float | None = None  # PSNR over the examples, dB
    floor: float | None = None  # of the best guess without the update, dB

    @classmethod
    def of(cls, result: Result) -> Leak:
        found, told = result.likeness, result.declared
        return cls(
            attack=result.attack,
            round=result.round,
            client=result.client,
            examples=told.get("examples behind the update", ""),
            accuracy=told.get("accuracy after the round", ""),
            verdict=verdict_of(result),
            median=found.median if found else None,
            floor=found.floor if found else None,
        )

    @property
    def gain(self) -> float | None:
        """Median over the best guess, dB."""
        if self.median is None or self.floor is None:
            return None
        return self.median - self.floor

    @property
    def exact(self) -> bool:
        return self.verdict.startswith("exact")

    @property
    def stopped(self) -> bool:
        """Whether it is no better than a guess: by `GAIN` dB at most, or in the score's words."""
        return self.verdict.startswith("no better") if self.gain is None else self.gain <= GAIN

    @property
    def word(self) -> str:
        """Its verdict in short."""
        return self.verdict.partition(":")[0].removesuffix(" without the gradient")

    def told(self) -> str:
        """In a line."""
        if self.median is None or self.floor is None:
            return self.word
        return f"{self.median:.1f} dB, guess {self.floor:.1f}: {self.word}"


def verdict_of(result: Result) -> str:
    """Of whichever score the attack was given: each says in words what it is worth."""
    scores = [getattr(result, name) for name in type(result).model_fields]
    return next((score.verdict for score in scores if getattr(score, "verdict", "")), "")
