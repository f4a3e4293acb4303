"""Detection: how well a score tells the malicious clients of a round from the honest ones.

Clients are few, so the interval of the AUC holds for any distribution and any number of them:
Hoeffding 1963, JASA 58, theorem 1 with section 5 on statistics of two samples.
"""

from __future__ import annotations

from math import inf, log

import numpy as np

from lab.common.settings import Settings
from lab.scoring.shared.bootstrap import LEVEL
from lab.scoring.shared.roc_curve import auc, true_positives

DIGITS = 9  # of a score that count: rounding must not put equals in an order


class Detection(Settings):
    """What a score that sees updates alone would have found."""

    name: str
    scores: tuple[float, ...]  # of each row; higher is more suspect
    malicious: int
    honest: int
    auc: float  # the chance that a malicious update is more suspect than an honest one
    low: float  # 95 %, whatever the distribution
    high: float
    luck: float  # that scores without any meaning would do as well
    false_positives: tuple[float, ...]  # the corners of the ROC
    true_positives: tuple[float, ...]


def detect(name: str, scores: np.ndarray, malicious: np.ndarray) -> Detection | None:
    """scores (clients,), malicious (clients,) bool.  None where there is only one kind."""
    even = np.array([float(f"{score:.{DIGITS - 1}e}") for score in scores])
    bad, good = even[malicious], even[~malicious]
    if not len(bad) or not len(good):
        return None
    value = auc(bad, good)
    low, high = bounds(value, min(len(bad), len(good)))
    corners = np.arange(len(good) + 1) / len(good)  # (honest + 1,)
    return Detection(
        name=name,
        scores=tuple(float(score) for score in scores),
        malicious=len(bad),
        honest=len(good),
        auc=value,
        low=low,
        high=high,
        luck=_luck(bad, good),
        false_positives=tuple(corners.tolist()),
        true_positives=tuple(true_positives(bad, good, corners).tolist()),
    )


def bounds(value: float, pairs: int) -> tuple[float, float]:
    """Of a mean in [0, 1] over so many independent pairs, of which an AUC is an average."""
    allowed = -log((1 - LEVEL) / 2) / pairs
    return _end(value, 0.0, allowed), _end(value, 1.0, allowed)


def _end(value: float, end: float, allowed: float) -> float:
    """How far the truth may lie towards `end` at that divergence, by bisection."""
    near, far = value, end
    for _ in range(60):
        middle = (near + far) / 2
        near, far = (middle, far) if _divergence(value, middle) <= allowed else (near, middle)
    return near


def _divergence(found: float, truth: float) -> float:
    """Kullback and Leibler's, of two coins."""
    told = 0.0
    for one, other in ((found, truth), (1 - found, 1 - truth)):
        if one > 0:
            told += one * log(one / other) if other > 0 else inf
    return told


def _luck(bad: np.ndarray, good: np.ndarray) -> float:
    """By Mann and Whitney's test: exact where clients are few and no two are equal."""
    from scipy.stats import mannwhitneyu

    if len(np.unique(np.concatenate([bad, good]))) == 1:
        return 1.0
    return float(mannwhitneyu(bad, good, alternative="greater").pvalue)
