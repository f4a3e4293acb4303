"""Min-Sum: bounded by honest updates' total distance. Shejwalkar, Houmansadr 2021, NDSS, eq. 8.

Squared distances to all honest updates sum to those of the mean plus their number times the squared
distance from the mean.  Therefore the largest gamma puts the malicious update as far from the mean
as the farthest honest update.  The paper searches for it by halving.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from attacks.poisoning.shared.malicious_updates import Way, honest, told, way_of
from lab.interfaces.messages import Cohort
from lab.interfaces.poisoning import NO_KNOWLEDGE, AdversaryKnowledge, PoisoningAttack
from lab.interfaces.privacy_attacks import Sees


class MinSum(PoisoningAttack):
    """Moves the honest mean backwards, as far as the farthest honest update is from the mean."""

    kind: Literal["min-sum"] = "min-sum"
    title: ClassVar[str] = "Min-Sum"
    source: ClassVar[str] = "Shejwalkar and Houmansadr 2021, NDSS, eq. 8"
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
    square = way.square().sum()
    if not square:
        return square
    gaps = among - among.mean(dim=0)  # (honest, params)
    return (gaps.square().sum(dim=1).max() / square).sqrt()
