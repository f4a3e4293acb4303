"""Bulyan: repeated Krum, then a mean around the median. El Mhamdi et al. 2018, arXiv:1802.07927."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from defenses.aggregation.krum import among, ranked
from defenses.aggregation.meamed import around_median
from defenses.shared.breakdown_point import Breakdown
from defenses.shared.distances import gaps
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)

LIMIT = Breakdown(4, 3)


class Bulyan(AggregationRule):
    """Selects updates by repeated Krum, then averages the values nearest to their median."""

    kind: Literal["bulyan"] = "bulyan"
    title: ClassVar[str] = "Bulyan"
    source: ClassVar[str] = "El Mhamdi et al. 2018, arXiv:1802.07927"
    fails: ClassVar[str] = (
        "a quarter or more of malicious clients, and small cohorts, where it averages few values"
    )
    faulty: int = Field(
        1, ge=0, le=249, description="number of malicious clients assumed in a round"
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Ignores weights.  rows (clients, params) -> (params,)"""
        return around_median(rows[self._kept(rows)], len(rows) - 4 * self.faulty)

    def judge(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> AggregationDecision:
        return AggregationDecision.of(self._kept(rows))

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)

    def _kept(self, rows: Tensor) -> Tensor:
        """Make theta = n - 2f picks, each by Krum among the rest.  -> (clients,) bool"""
        self.check(len(rows))
        between, left = gaps(rows), list(range(len(rows)))
        picks: list[int] = []
        while len(picks) < len(rows) - 2 * self.faulty:
            # The last few are fewer than Krum needs: its score then counts the nearest one, and
            # copies far away may get in, which the mean around the median leaves out again.
            neighbours = max(1, len(left) - self.faulty - 2)
            picks.append(left.pop(ranked(between[left][:, left], neighbours)[0]))
        return among(len(rows), picks)
