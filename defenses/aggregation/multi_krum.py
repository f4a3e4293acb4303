"""Multi-Krum: the mean of the updates with the best scores. Blanchard et al. 2017, NeurIPS 30."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from defenses.aggregation.krum import LIMIT, Neighbours, among, counted, ranked
from defenses.shared.distances import gaps
from lab.common.settings import SettingError
from lab.interfaces.aggregation import (
    NO_CONTEXT,
    AggregationContext,
    AggregationDecision,
    AggregationRule,
)


class MultiKrum(AggregationRule):
    """Averages the updates that are closest to their neighbours by Krum's score."""

    kind: Literal["multi-krum"] = "multi-krum"
    title: ClassVar[str] = "Multi-Krum"
    source: ClassVar[str] = "Blanchard et al. 2017, NeurIPS 30, section 6"
    fails: ClassVar[str] = (
        "more malicious clients than it assumes, and malicious updates within the honest spread"
    )
    faulty: int = Field(
        1, ge=0, le=498, description="number of malicious clients assumed in a round"
    )
    chosen: int = Field(
        0, ge=0, le=1000, description="number of updates averaged; 0: all but `faulty`"
    )
    neighbours: Neighbours = Field(
        "paper",
        description="neighbours in a score: clients - faulty - 2 (paper), or one more as in ByzFL",
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
        return max(LIMIT.fewest(self.faulty), self.chosen + self.faulty)

    def check(self, clients: int) -> None:
        LIMIT.check(self.kind, self.faulty, clients)
        spared = clients - self.faulty
        if self.chosen > spared:
            raise SettingError(
                f"aggregation.rule.chosen is {self.chosen}, and {clients} clients a round without "
                f"aggregation.rule.faulty {self.faulty} leave {spared}: "
                f"give {spared} at most, or 0 for all of them"
            )

    def _kept(self, rows: Tensor) -> Tensor:
        """Mark the chosen clients.  -> (clients,) bool"""
        self.check(len(rows))
        best = ranked(gaps(rows), counted(self.neighbours, len(rows), self.faulty))
        return among(len(rows), best[: self.chosen or len(rows) - self.faulty])
