"""ROC curves: area, and true positives at a false positive rate."""

from __future__ import annotations

import numpy as np


def auc(members: np.ndarray, others: np.ndarray) -> float:
    """The chance that a member scores higher than another; ties count half (Mann-Whitney)."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([members, others]))[: len(members)]
    wins = ranks.sum() - len(members) * (len(members) + 1) / 2
    return float(wins / (len(members) * len(others)))


def true_positives(members: np.ndarray, others: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """The best rate by a threshold with at most `rates` false positives, ties kept together."""
    descending = np.sort(others)[::-1]
    allowed = np.floor(rates * len(others) + 1e-9).astype(int)  # false positives
    # The threshold is the first score that would be one false positive too many.
    limit = np.where(
        allowed < len(others), descending[np.minimum(allowed, len(others) - 1)], -np.inf
    )
    above = len(members) - np.searchsorted(np.sort(members), limit, side="right")
    return above / len(members)
