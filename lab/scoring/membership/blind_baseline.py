"""The blind baseline: can members be told from others without any model at all?

If they can, the two sets differ by themselves and no membership score means anything (Das et al.
2024, arXiv:2406.16201).
"""

from __future__ import annotations

import numpy as np
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.interfaces.attack_data import Candidates

MOST = 2000  # of each side
FEWEST = 40  # of each side; below that a classifier says nothing
STRENGTH = 0.01  # of the fit; weak, because there are more columns than candidates


def blind_scores(candidates: Candidates, member: np.ndarray) -> np.ndarray | None:
    """How member-like each candidate looks to a classifier that was fitted to others of them.

    Fitted to one half and judged on the other: folds would bias the AUC below a half.
    -> (candidates,), NaN for those left out; None where there are too few to say
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    generator = random_stream(0, "blind")
    sides = [generator.permutation(np.flatnonzero(member == side))[:MOST] for side in (True, False)]
    if min(len(side) for side in sides) < FEWEST:
        return None
    chosen = np.concatenate(sides)
    table = _table(candidates, chosen)
    classifier = make_pipeline(
        StandardScaler(),
        LogisticRegression(C=STRENGTH, max_iter=1000, class_weight="balanced"),
    )
    truth, scores = member[chosen], np.full(len(member), np.nan)
    fitted, judged = train_test_split(
        np.arange(len(chosen)), test_size=0.5, stratify=truth, random_state=0
    )
    classifier.fit(table[fitted], truth[fitted])
    scores[chosen[judged]] = classifier.predict_proba(table[judged])[:, 1]
    return scores


def _table(candidates: Candidates, chosen: np.ndarray) -> np.ndarray:
    """Inputs and one-hot labels.  -> (chosen, columns)"""
    labels = candidates.labels.numpy()
    one_hot = np.eye(int(labels.max()) + 1)[labels[chosen]]
    inputs: Tensor = candidates.inputs.flatten(1)
    return np.concatenate([inputs.numpy()[chosen], one_hot], axis=1)
