"""Ladder: scores sorted once, for areas and rates under any number of draws of a bootstrap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

DRAWS = 400  # of a bootstrap
LEVEL = 0.95

Counts = tuple[np.ndarray, np.ndarray]  # members and others on each rung


@dataclass(frozen=True, eq=False)
class RankedScores:
    """Each score's rung, from the highest down; ties share one.  A label has rungs of its own."""

    members: np.ndarray  # (members,)
    others: np.ndarray  # (others,)
    edges: np.ndarray  # (labels + 1,) the first rung of each label, and one beyond the last

    @classmethod
    def of(cls, scores: np.ndarray, member: np.ndarray, labels: np.ndarray) -> RankedScores:
        """labels (candidates,): members are compared with others of their own; all equal: pooled"""
        order = np.lexsort((-scores, labels))
        score, label = scores[order], labels[order]
        fresh = np.r_[True, label[1:] != label[:-1]]
        step = fresh | np.r_[True, score[1:] != score[:-1]]
        rungs = np.empty(len(scores), dtype=np.int64)
        rungs[order] = np.cumsum(step) - 1
        edges = np.r_[rungs[order[fresh]], step.sum()]
        return cls(rungs[member], rungs[~member], edges)

    @property
    def counts(self) -> Counts:
        return self.counted(slice(None), slice(None))

    def counted(self, mine: np.ndarray | slice, yours: np.ndarray | slice) -> Counts:
        """Of the members and the others at those places."""
        rungs = int(self.edges[-1])
        members = np.bincount(self.members[mine], minlength=rungs)
        return members, np.bincount(self.others[yours], minlength=rungs)

    def places(self, others: np.ndarray) -> np.ndarray:
        """The share of others with the same label below each rung; ties count half.  -> (rungs,)

        NaN where nobody else has the label.
        """
        sizes, passed = np.diff(self.edges), np.cumsum(others)
        total = np.add.reduceat(others, self.edges[:-1])  # (labels,)
        ended = np.repeat(np.cumsum(total), sizes)  # (rungs,) others up to the end of the label
        below, all_ = ended - passed + others / 2, np.repeat(total, sizes).astype(float)
        shares: np.ndarray = np.divide(below, all_, out=np.full(len(below), np.nan), where=all_ > 0)
        return shares

    def area(self, counts: Counts) -> float:
        """The chance that a member stands above another of its label; NaN without any such pair."""
        places = self.places(counts[1])
        known = np.isfinite(places)
        members = counts[0][known]
        total = int(members.sum())
        return float((members * places[known]).sum() / total) if total else np.nan

    def above(self, counts: Counts, rates: np.ndarray) -> np.ndarray:
        """Members above the best threshold of each label with at most `rates` false positives.

        Ties stay together.  -> (labels, rates)
        """
        members, others = (np.r_[0, np.cumsum(each)] for each in counts)  # (rungs + 1,)
        first, end = self.edges[:-1], self.edges[1:]
        total = others[end] - others[first]
        allowed = np.floor(total[:, None] * rates + 1e-9)  # (labels, rates)
        # The threshold is the first rung that would be one false positive too many.
        limit = np.searchsorted(others[1:], others[first][:, None] + allowed, side="right")
        found: np.ndarray = members[np.minimum(limit, end[:, None])] - members[first][:, None]
        return found


def bootstrap_draws(members: int, others: int, generator: np.random.Generator) -> Iterator[Counts]:
    """Places of members and of others, drawn with replacement, time and again."""
    for _ in range(DRAWS):
        mine = generator.integers(members, size=members)
        yield mine, generator.integers(others, size=others)


def interval(values: np.ndarray) -> np.ndarray:
    """Both ends over the draws, draws along the first axis.  -> (2, ...)"""
    ends: np.ndarray = np.nanquantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return ends
