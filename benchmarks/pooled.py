"""AUC and rates of many targets under one threshold, and their intervals, target by target."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.common.random_streams import random_stream
from lab.scoring.shared.roc_curve import auc, true_positives

DRAWS = 200  # of the bootstrap over targets
RATES = np.array([0.001, 0.01])
Sides = list[tuple[np.ndarray, np.ndarray]]  # of each target: members' scores, others' scores


def figures(sides: Sides, chosen: Sequence[int]) -> np.ndarray:
    """AUC, TPR at 0.1 % and at 1 %, of the chosen targets pooled."""
    members, others = (
        np.concatenate([sides[target][side] for target in chosen]) for side in (0, 1)
    )
    return np.array([auc(members, others), *true_positives(members, others, RATES)])


def drawn(sides: Sides) -> np.ndarray:
    """The same of targets drawn with replacement, alike for every attack.  -> (draws, 3)

    A target that is drawn twice weighs twice, so that one sort does for all draws.
    """
    scores = np.concatenate([part for both in sides for part in both])
    sizes = [len(part) for both in sides for part in both]
    side = np.repeat(np.arange(len(sizes)), sizes)  # members' of a target, then others'
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)  # of ties
    generator, found = random_stream(0, "targets", len(sides)), []
    for _ in range(DRAWS):
        picks = generator.integers(len(sides), size=len(sides))
        weights = np.bincount(picks, minlength=len(sides))[side[order] // 2]
        true, false = (
            np.cumsum(weights * (side[order] % 2 == which))[ends] / weights.sum() * 2
            for which in (0, 1)
        )
        reached = [true[false <= rate + 1e-12].max(initial=0.0) for rate in RATES]
        area = np.trapezoid(np.append(0.0, true), np.append(0.0, false))
        found.append([area, *reached])
    return np.array(found)


def summary(value: np.ndarray, draws: np.ndarray) -> dict[str, list[float]]:
    low, high = np.quantile(draws, [0.025, 0.975], axis=0)
    names = ("auc", "tpr_0.1%", "tpr_1%")
    columns = zip(names, value, low, high, strict=True)
    return {name: [round(float(each), 5) for each in found] for name, *found in columns}
