"""Clopper-Pearson on epsilon itself. Jagielski et al. 2020, arXiv:2006.07709."""

from __future__ import annotations

import numpy as np

from lab.privacy.accounting.accountants import GaussianReleases
from lab.privacy.audit_bounds.bound import INDEPENDENT, EpsilonBound, checked
from lab.privacy.audit_bounds.clopper_pearson import upper
from lab.privacy.audit_bounds.held_out import SOME, ErrorCounts, counts, parted, thresholds

ASSUMPTION = (
    "nothing of the mechanism; canaries were put in at random and their scores are independent"
)


def generic(
    inside: np.ndarray,
    outside: np.ndarray,
    claim: tuple[GaussianReleases, ...],
    delta: float,
    confidence: float = 0.95,
) -> EpsilonBound:
    """Whatever the mechanism is, so `claim` is not looked at.  Raises SettingError.

    Scores must be independent: a mechanism that gives all canaries away at once, now and then,
    breaks this bound as often.

    inside, outside: scores of canaries; higher is more like one that was in
    """
    inside, outside = checked(inside, outside, delta, confidence)
    parts = parted(inside, outside, SOME)
    limits = thresholds(*parts.chosen_on)
    best = int(_epsilons(counts(*parts.chosen_on, limits), delta, 1 - confidence).argmax())
    found = counts(*parts.counted, limits[best : best + 1])
    return EpsilonBound(
        method="generic Clopper-Pearson",
        epsilon=float(_epsilons(found, delta, 1 - confidence)[0]),
        delta=delta,
        confidence=confidence,
        inside=len(inside),
        outside=len(outside),
        premise=INDEPENDENT,
        assumption=ASSUMPTION,
        evidence=found.sentence(),
    )


def _epsilons(found: ErrorCounts, delta: float, doubt: float) -> np.ndarray:
    """The least epsilon that allows both errors, each at the upper end of its interval."""
    missed = upper(found.missed, found.inside, doubt / 2)
    alarms = upper(found.alarms, found.outside, doubt / 2)
    # Kairouz et al. 2015, arXiv:1311.0776, theorem 2.1, read both ways.
    ratios = np.maximum((1 - delta - missed) / alarms, (1 - delta - alarms) / missed)
    epsilons: np.ndarray = np.log(np.maximum(ratios, 1.0))
    return epsilons
