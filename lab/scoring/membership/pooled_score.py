"""Pooling: what an attack achieves against many models of one recipe, taken together.

A true-positive rate at a false-positive rate of 0.1 % needs 10,000 non-members, and many runs have
fewer.  Intervals are those of the pigeonhole bootstrap (Owen 2007, Annals of Applied Statistics
1(2), doi 10.1214/07-AOAS122): models and examples are both drawn with replacement, and every drawn
example counts in every drawn model, because an example that stands out does so in all of them.
Models that share a pool out between them are drawn together: neither is there without the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lab.common.random_streams import random_stream
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.membership_score import (
    GRID,
    STATED,
    Curve,
    MembershipScore,
    score_membership,
)
from lab.scoring.membership.rates import FEWEST, RateAtFpr
from lab.scoring.shared.bootstrap import DRAWS, interval

SHOWN = 8  # most and least exposed


def pooled(
    scores: np.ndarray, inside: np.ndarray, pairs: Sequence[int], ceiling: AttackCeiling | None
) -> MembershipScore:
    """The exposure over all of the models.  scores, inside (models, candidates)

    pairs: (models,) equal numbers for models that are trained on complementary halves of the pool;
    they are drawn together

    There is no blind baseline: who is inside was drawn at random, so nothing but the model tells.
    The most exposed are those whose scores were highest on average while they were inside.
    """
    found = score_membership(scores.ravel(), inside.ravel(), None, ceiling)
    areas, rates = _drawn(scores, inside, pairs, np.concatenate([STATED, GRID]))
    auc_low, auc_high = _widened(interval(areas), found.auc_low, found.auc_high)
    ends = interval(rates)  # (2, rates)
    stated, curve = ends[:, : len(STATED)], ends[:, len(STATED) :]
    low, high = _widened(curve, found.curve.low, found.curve.high)
    decided = found.auc_low > 0.5 or found.auc_high < 0.5
    held = decided and auc_low <= 0.5 <= auc_high and min(found.members, found.others) >= FEWEST
    chance = "no better than chance: over such models, the interval of the AUC holds 0.5"
    order = _by_exposure(scores, inside)
    return found.model_copy(
        update={
            "auc_low": float(auc_low),
            "auc_high": float(auc_high),
            "rates": tuple(
                _rate(rate, ends) for rate, ends in zip(found.rates, stated.T, strict=True)
            ),
            "curve": Curve(
                false_positives=found.curve.false_positives,
                true_positives=found.curve.true_positives,
                low=tuple(low.tolist()),
                high=tuple(high.tolist()),
            ),
            "most": tuple(order[:SHOWN].tolist()),
            "least": tuple(order[::-1][:SHOWN].tolist()),
            "verdict": chance if held else found.verdict,
            "balanced": None,  # its interval takes all scores as independent
        }
    )


def _rate(rate: RateAtFpr, ends: np.ndarray) -> RateAtFpr:
    if rate.value is None or rate.low is None or rate.high is None:
        return rate
    low, high = _widened(ends, rate.low, rate.high)
    return rate.model_copy(update={"low": float(low), "high": float(high)})


def _widened(
    ends: np.ndarray, low: float | Sequence[float], high: float | Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Never narrower than if all scores were independent: few models can agree by accident."""
    return np.minimum(ends[0], low), np.maximum(ends[1], high)


def _drawn(
    scores: np.ndarray, inside: np.ndarray, pairs: Sequence[int], rates: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Area and true-positive rates of every draw.  -> (draws,), (draws, rates)"""
    values = np.nan_to_num(scores).ravel()
    order = np.argsort(-values, kind="stable")
    member, values = inside.ravel()[order], values[order]
    first = np.flatnonzero(np.r_[True, values[1:] != values[:-1]])  # of each group of ties
    pair = np.unique(pairs, return_inverse=True)[1]  # (models,) from 0
    generator, areas, found = random_stream(0, "pigeonhole"), [], []
    for _ in range(DRAWS):
        models = _counts(generator, pair.max() + 1)[pair]
        weights = np.outer(models, _counts(generator, scores.shape[1])).ravel()[order]
        members = np.add.reduceat(np.where(member, weights, 0), first)
        others = np.add.reduceat(np.where(member, 0, weights), first)
        if members.any() and others.any():
            areas.append(_area(members, others))
            found.append(_true_positives(members, others, rates))
    return np.array(areas), np.stack(found)


def _counts(generator: np.random.Generator, size: int) -> np.ndarray:
    """How often each of so many is drawn, when as many are drawn with replacement.  -> (size,)"""
    return np.bincount(generator.integers(size, size=size), minlength=size)


def _area(members: np.ndarray, others: np.ndarray) -> float:
    """Of those with each score, from the highest down."""
    below = others.sum() - np.cumsum(others) + others / 2
    return float(members @ below / (members.sum() * others.sum()))


def _true_positives(members: np.ndarray, others: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """As `lab.scoring.shared.roc_curve.true_positives`, of those with each score."""
    passed, found = np.cumsum(others), np.r_[0, np.cumsum(members)]
    allowed = np.floor(rates * passed[-1] + 1e-9)
    best: np.ndarray = found[np.searchsorted(passed, allowed, side="right")] / found[-1]
    return best


def _by_exposure(scores: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Places of the candidates that were ever inside, the most exposed first."""
    times = inside.sum(axis=0)  # (candidates,)
    means = np.where(inside, np.nan_to_num(scores), 0).sum(axis=0) / np.maximum(times, 1)
    known = np.flatnonzero(times)
    order: np.ndarray = known[np.argsort(-means[known], kind="stable")]
    return order
