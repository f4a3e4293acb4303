"""Gain: what acting told an attacker beyond watching, on the same candidates."""

from __future__ import annotations

from typing import Literal

import numpy as np

from lab.common.random_streams import random_stream
from lab.common.settings import Settings
from lab.scoring.shared.bootstrap import DRAWS
from lab.scoring.shared.roc_curve import auc


class PassiveComparison(Settings):
    """Another way to score the same candidates, and how far the attack is ahead of it."""

    name: str
    auc: float
    gain: float  # AUC of the attack minus this one
    low: float  # 95 %, bootstrap over candidates, both scores of each drawn together
    high: float

    def sentence(self) -> str:
        return (
            f"{self.name}: AUC {self.auc:.3f}; acting gained {self.gain:+.3f} "
            f"(95 % {self.low:+.3f} to {self.high:+.3f})"
        )


class ActiveGain(Settings):
    """An active attack beside what needs no action."""

    kind: Literal["active-gain"] = "active-gain"
    rounds: int  # that were played
    together: int  # candidates asked about in one course of them
    rivals: tuple[PassiveComparison, ...]
    accuracy: float  # on test examples, of the model in the end, the mean over courses
    usual: float  # of the run's own model after the same round

    def lines(self) -> list[str]:
        told = [rival.sentence() for rival in self.rivals]
        return [
            *told,
            f"accuracy in the end {self.accuracy:.3f}, in the run itself {self.usual:.3f}",
        ]


def rival_of(
    name: str, acting: np.ndarray, other: np.ndarray, member: np.ndarray
) -> PassiveComparison:
    """acting, other (candidates,) scores; member (candidates,) the truth"""
    inside, outside, drawn = (
        np.flatnonzero(member),
        np.flatnonzero(~member),
        random_stream(0, "gain"),
    )
    gains = []
    for _ in range(DRAWS):
        ours = drawn.choice(inside, len(inside)), drawn.choice(outside, len(outside))
        gains.append(auc(*(acting[each] for each in ours)) - auc(*(other[each] for each in ours)))
    low, high = np.quantile(gains, [0.025, 0.975])
    found = auc(other[inside], other[outside])
    gain = auc(acting[inside], acting[outside]) - found
    return PassiveComparison(name=name, auc=found, gain=gain, low=float(low), high=float(high))
