"""Adaptive robust clipping. Allouah et al. 2025, ICLR, arXiv:2405.14432."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from defenses.shared.breakdown_point import Breakdown
from defenses.shared.norms import lengths_of, scaled, shortening
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort

LIMIT = Breakdown(2, 1)


class AdaptiveClipping(PreAggregator):
    """Clips the longest updates, about twice `faulty` of them, to the next longest norm."""

    kind: Literal["arc"] = "arc"
    title: ClassVar[str] = "Adaptive robust clipping"
    source: ClassVar[str] = "Allouah et al. 2025, ICLR, arXiv:2405.14432"
    fails: ClassVar[str] = "malicious updates of ordinary norm"
    faulty: int = Field(
        1, ge=0, le=499, description="number of malicious clients assumed in a round"
    )

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        self.check(len(rows))
        exact = rows.double()
        lengths = lengths_of(exact)
        long = 2 * self.faulty * (len(rows) - self.faulty) // len(rows)
        factors = shortening(lengths, lengths.sort(descending=True).values[long])
        shortened = scaled(exact, factors).to(rows.dtype)
        return PreAggregated(shortened, weights, factors=factors.detach())

    def fewest(self) -> int:
        return LIMIT.fewest(self.faulty)

    def check(self, rows: int) -> None:
        LIMIT.check(self.kind, self.faulty, rows, f"stages, kind {self.kind}: faulty")
