"""Outcome: what became of one run of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lab.scoring.attack_result import AttackResult
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.reconstruction.image_scorer import GAIN, ImageScore
from lab.scoring.reconstruction.verdict import ALL, PARTLY
from lab.sweeps.sweep import Sweep


@dataclass(frozen=True)
class CellResult:
    """What became of one run."""

    status: str
    message: str = ""
    accuracy: tuple[float, ...] = ()  # after each round
    backdoor: tuple[float | None, ...] = ()
    leak: AttackSummary | None = None  # what the attack at its end came to,
    refused: str = ""  # or why there was nothing to attack
    probes: tuple[AttackSummary | None, ...] = ()  # what each came to; None: nothing to attack,
    useless: tuple[str, ...] = ()  # and why

    @classmethod
    def read(cls, status: str, message: str, result: Mapping[str, Any]) -> CellResult:
        """result: as the store has it"""
        attack, probes = result.get("attack"), result.get("probes", ())
        return cls(
            status,
            message,
            accuracy=tuple(result.get("accuracy", ())),
            backdoor=tuple(result.get("backdoor", ())),
            leak=AttackSummary.of(AttackResult.read(attack)) if attack else None,
            refused=result.get("refused", ""),
            probes=tuple(
                AttackSummary(**each["leak"]) if "leak" in each else None for each in probes
            ),
            useless=tuple(each["refused"] for each in probes if "refused" in each),
        )

    def value(self, sweep: Sweep) -> float | None:
        if sweep.measure == "leak":
            if self.leak is None:
                return None
            return self.leak.gain if self.leak.auc is None else self.leak.auc
        measured = (self.accuracy if sweep.measure == "accuracy" else self.backdoor)[-sweep.last :]
        known = [value for value in measured if value is not None]
        return fmean(known) if known else None


@dataclass(frozen=True)
class AttackSummary:
    """The score of one attack.  Without pictures it has a verdict only."""

    attack: str
    round: int
    client: int | None
    examples: str  # behind the update
    accuracy: str  # of the model after the round
    verdict: str
    median: float | None = None  # PSNR over the examples, dB
    floor: float | None = None  # the highest median of a guess without the update, dB
    gain: float | None = None  # over the best guess: median of differences, example by example, dB
    auc: float | None = None  # of a membership attack,
    given: float | None = None  # and among examples with the same label
    rate: float | None = None  # its true positives at 1 % false positives; None: too few to say
    learnt: str = ""  # accuracy of the model on members
    identified: float | None = None  # share of the examples whose rebuilt picture leads to them

    @classmethod
    def of(cls, result: AttackResult) -> AttackSummary:
        found, told, exposed = (
            result.find(ImageScore),
            result.declared,
            result.find(MembershipScore),
        )
        return cls(
            attack=result.attack,
            round=result.round,
            client=result.client,
            examples=told.get("examples behind the update", ""),
            accuracy=told.get(
                "accuracy after the round", told.get("accuracy on test examples", "")
            ),
            verdict=verdict_of(result),
            median=found.median if found else None,
            floor=found.floor_median if found else None,
            gain=found.gain if found else None,
            auc=exposed.auc if exposed else None,
            given=exposed.strata.given if exposed and exposed.strata else None,
            rate=exposed.rates[0].value if exposed else None,
            learnt=told.get("accuracy on members", ""),
            identified=_identified(found) if found else None,
        )

    @property
    def exact(self) -> bool:
        return self.verdict.startswith(ALL)

    @property
    def stopped(self) -> bool:
        """Whether it is no better than a guess: by `GAIN` dB at most, or in the score's words.

        Where a single example is exact, it is more than a guess.
        """
        if self.gain is None:
            return self.verdict.startswith("no better")
        return self.gain <= GAIN and not self.verdict.startswith((ALL, PARTLY))

    @property
    def unclear(self) -> bool:
        """Whether its score itself says that it means nothing."""
        return self.verdict.startswith(("invalid", "too few"))

    @property
    def word(self) -> str:
        """Its verdict in short."""
        return self.verdict.partition(":")[0].removesuffix(" without the gradient")

    def told(self) -> str:
        """In a line."""
        if self.auc is not None:
            return f"AUC {self.auc:.3f}: {self.word}"
        if self.median is None or self.gain is None:
            return self.word
        return f"{self.median:.1f} dB, {self.gain:+.1f} over a guess: {self.word}"


def _identified(found: ImageScore) -> float | None:
    if found.identified is None:
        return None
    return found.identified.first / (found.private or len(found.identified.ranks))


def verdict_of(result: AttackResult) -> str:
    """Of whichever score the attack was given: each says in words what it is worth."""
    scores = [getattr(result, name) for name in type(result).model_fields]
    return next((score.verdict for score in scores if getattr(score, "verdict", "")), "")
