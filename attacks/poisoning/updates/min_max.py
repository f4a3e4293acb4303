"""Min-Max: bounded by honest updates' distances. Shejwalkar and Houmansadr 2021, NDSS, eq. 7.

The paper searches for gamma by halving.  Here it is computed: the smallest, over all honest
updates, of the roots of a quadratic.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import Way, apart, honest, told, way_of
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees


class MinMax(PoisoningAttack):
    """Moves the honest mean backwards, no farther from any update than honest ones are apart."""

    kind: Literal["min-max"] = "min-max"
    title: ClassVar[str] = "Min-Max"
    source: ClassVar[str] = "Shejwalkar and Houmansadr 2021, NDSS, eq. 7"
    knows: ClassVar[str] = "the updates of all honest clients"
    deviation: Way = Field(
        "std",
        description=(
            "direction that is subtracted: the mean as a unit vector, its sign, or the standard "
            "deviations"
        ),
    )

    @property
    def sees(self) -> Sees:
        return "updates"

    def rows(
        self, rows: Tensor, cohort: Cohort, insight: AdversaryKnowledge = NO_KNOWLEDGE
    ) -> Tensor:
        among = honest(rows, cohort).double()
        way = way_of(among, self.deviation)
        return told(rows, cohort, among.mean(dim=0) - largest(among, way) * way)


def largest(among: Tensor, way: Tensor) -> Tensor:
    """Return gamma, or 0 for a zero way.  among (honest, params), way (params,), float64 -> ()"""
    gaps = among.mean(dim=0) - among  # (honest, params)
    square = way.square().sum()
    if not square:
        return square
    room = (apart(among).max() - gaps.square().sum(dim=1)).clamp_min(0.0)  # (honest,)
    # |gap - gamma way|^2 = widest^2, for every gap: its larger root.
    along = gaps @ way  # (honest,)
    roots = (along + (along.square() + square * room).sqrt()) / square
    return roots.min()
