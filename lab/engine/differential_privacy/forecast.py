"""The budget of a run: what it has spent, will spend, and what other choices would cost."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import numpy as np

from lab.engine.differential_privacy.accountant import opponents, spans, spent
from lab.engine.differential_privacy.segments import Segment, faced, segments
from lab.experiment.experiment import Experiment
from lab.privacy.accounting.accountants import ACCOUNTANTS, Accountant, compose_epsilon

POINTS = 13  # of a curve


@dataclass(frozen=True)
class Course:
    """Epsilon by round."""

    points: list[int]
    epsilons: dict[str, list[float | None]]  # by accountant; None where one gives up
    at_least: list[float | None]
    changes: list[int]  # first rounds of the segments but the first


def course(experiment: Experiment, now: int, end: int) -> Course:
    """From the first round to the last, `now` among them."""
    changes = [part.first for part, _ in spans(experiment, end)[1:]]
    fixed = {1, now, end, *changes, *(first - 1 for first in changes)}
    spread = {int(round) for round in np.linspace(1, end, POINTS)}
    points = sorted(point for point in fixed | spread if 1 <= point <= end)
    known = [spent(experiment, point) for point in points]
    return Course(
        points,
        {
            name.upper(): [_epsilon(experiment, point, name) for point in points]
            for name in ACCOUNTANTS
        },
        [guarantee.at_least if guarantee else None for guarantee in known],
        changes,
    )


def _epsilon(experiment: Experiment, rounds: int, accountant: Accountant) -> float | None:
    guarantee = spent(experiment, rounds, accountant=accountant)
    return guarantee.epsilon if guarantee and isfinite(guarantee.epsilon) else None


def compared(experiment: Experiment, rounds: int) -> list[dict[str, str]]:
    """Who could look, and what each accountant says that they can learn."""
    found = []
    for adversary in opponents(experiment, rounds):
        told: dict[str, str] = {}
        for name in ACCOUNTANTS:
            guarantee = spent(experiment, rounds, adversary, name)
            if guarantee is None:
                continue
            told.setdefault("Against", guarantee.against)
            told.setdefault("Sampling", guarantee.sampling)
            told[name.upper()] = guarantee.value() if isfinite(guarantee.epsilon) else "gives up"
        found.append(told)
    return found


def stretches(experiment: Experiment, rounds: int) -> list[dict[str, str]]:
    """The segments of a run: what each released."""
    return [_stretch(part, last) for part, last in spans(experiment, rounds)]


def _stretch(part: Segment, last: int) -> dict[str, str]:
    spending = part.spending(last, faced(part.now))
    alone = compose_epsilon((spending,), part.now.privacy.delta)
    return {
        "Rounds": f"{part.first} to {last}",
        "Sampling rate": f"{spending.rate:.4g}",
        "Noise multiplier": f"{spending.noise:.4g}",
        "Releases": f"{spending.times * spending.steps:,}",
        "Epsilon if it were alone": f"{alone:.3g}",
    }


def needed(experiment: Experiment, epsilon: float, rounds: int) -> float:
    """The noise multiplier with which so many rounds from the start would end at that epsilon."""
    wanted = experiment.at(1).changed(
        {"training.rounds": rounds, "privacy.epsilon": epsilon, "privacy.noise": 0.0}
    )
    return segments(wanted)[0].noise()
