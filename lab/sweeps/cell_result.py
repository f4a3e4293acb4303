"""Outcome: what became of one run of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from lab.attack_runs.reconstruction.reconstruction import Result
from lab.sweeps._leak import Leak
from lab.sweeps.sweep import Sweep


@dataclass(frozen=True)
class Outcome:
    """What became of one run."""

    status: str
    message: str = ""
    accuracy: tuple[float, ...] = ()  # after each round
    backdoor: tuple[float | None, ...] = ()
    leak: Leak | None = None  # what the attack at its end came to,
    refused: str = ""  # or why there was nothing to attack
    probes: tuple[Leak | None, ...] = ()  # what each came to; None: nothing to attack,
    useless: tuple[str, ...] = ()  # and why

    @classmethod
    def read(cls, status: str, message: str, result: Mapping[str, Any]) -> Outcome:
        """result: as the store has it"""
        attack, probes = result.get("attack"), result.get("probes", ())
        return cls(
            status,
            message,
            accuracy=tuple(result.get("accuracy", ())),
            backdoor=tuple(result.get("backdoor", ())),
            leak=Leak.of(Result.read(attack)) if attack else None,
            refused=result.get("refused", ""),
            probes=tuple(Leak(**each["leak"]) if "leak" in each else None for each in probes),
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
