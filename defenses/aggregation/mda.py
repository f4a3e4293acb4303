"""Minimum-diameter averaging. El Mhamdi et al. 2020, arXiv:1905.03853, after Rousseeuw 1985."""

from __future__ import annotations

from bisect import bisect_left
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from defenses.shared.distances import gaps
from defenses.shared.vertex_cover import Conflicts, cover
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)

LIMIT = Breakdown(2, 1)


class MinimumDiameter(AggregationRule):
    """Averages the subset of all but `faulty` updates that has the smallest diameter."""

    kind: Literal["mda"] = "mda"
    title: ClassVar[str] = "Minimum-diameter averaging"
    source: ClassVar[str] = "El Mhamdi et al. 2020, arXiv:1905.03853"
    fails: ClassVar[str] = (
        "more malicious clients than it assumes, and malicious updates within the honest spread"
    )
    faulty: int = Field(
        1, ge=0, le=499, description="number of malicious clients assumed in a round"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights.  rows (clients, params) -> (params,)"""
        return rows[self._kept(rows)].mean(dim=0)

    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        return AggregationDecision.of(self._kept(rows))

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)

    def _kept(self, rows: Tensor) -> Tensor:
        """Mark the chosen clients.  -> (clients,) bool"""
        self.check(len(rows))
        return torch.from_numpy(closest(gaps(rows).numpy(), self.faulty))


def closest(between: np.ndarray, faulty: int) -> np.ndarray:
    """Choose all rows but `faulty` with the least diameter.  between (rows, rows) -> (rows,) bool

    Pairs are visited from the farthest on.  A pair is separated if some choice of all but `faulty`
    rows avoids it and all pairs separated before; otherwise every choice contains both rows.  Among
    choices of equal diameter, the one with the smaller next-longest distance wins, and so on.  The
    order of rows decides only between equal distances.
    """
    if not faulty:
        return np.ones(len(between), dtype=bool)
    first, second = np.triu_indices(len(between), 1)
    order = np.argsort(-between[first, second], kind="stable")
    first, second = first[order], second[order]
    rank = np.full(between.shape, len(order))  # (rows, rows) 0: the farthest pair
    rank[first, second] = rank[second, first] = np.arange(len(order))
    kept, begun = np.zeros(len(between), dtype=bool), 0

    def fails(pairs: int) -> bool:
        """Return whether every remaining choice contains one of so many farthest pairs."""
        parted = rank < pairs
        out = parted[kept].any(axis=0) & ~kept
        rest = np.flatnonzero(~(kept | out))
        conflicts = _conflicts(parted[np.ix_(rest, rest)])
        spare = faulty - int(out.sum())
        return spare < 0 or cover(conflicts, spare) is None

    while begun < len(order) and kept.sum() < len(between) - faulty:
        begun += 1 + bisect_left(range(begun + 1, len(order) + 1), True, key=fails)
        kept[[each[begun - 1] for each in (first, second)]] = True
    return kept


def _conflicts(parted: np.ndarray) -> Conflicts:
    """Return the conflicts of each row as bits.  parted (rows, rows) bool"""
    bits = np.packbits(parted, axis=1, bitorder="little")
    return {
        int(row): int.from_bytes(bits[row].tobytes(), "little")
        for row in np.flatnonzero(parted.any(axis=1))
    }
