"""Take the accomplices' known updates off the sum. Bonawitz et al. 2017, eprint 2017/281.

A server that chooses whom it asks needs few: in a round of three clients two are all the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from attacks.secure_aggregation.shared.masked_sums import everybody, left_of, others_than, staged
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class Sybils(SecureAggregationAttack):
    """Own all others in the sum, however few: what one does not know of it is the target's."""

    kind: Literal["sybils"] = "sybils"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281; Douceur 2002"
    attacker: ClassVar[str] = "a server with accomplices among the clients"
    knows: ClassVar[str] = "the updates of its accomplices, whatever noise they hold included"
    fails: ClassVar[str] = "sums with other honest clients in them; noise that the target adds"
    honest: int = Field(
        0, ge=0, le=1000, description="clients beside the target that are no accomplices"
    )

    def __call__(self, siege: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """One claim: exact up to the rounding of the ring, or a mean with the honest others."""
        others = others_than(siege, target, 2, self.kind)
        mine = others[: max(0, len(others) - self.honest)]
        view = staged(siege, StagedRound(clients=everybody(siege), accomplices=mine))
        update, weight = left_of(view)
        left = len(others) - len(mine) + 1
        name = f"sum less {len(mine)} accomplices"
        rest = "the target alone" if left == 1 else f"the mean of {left} honest clients"
        notes = (f"{len(mine)} of {len(others) + 1} clients are accomplices: left is {rest}",)
        yield UpdateEstimate(name, 1, 1, update / weight, weight=weight / left, notes=notes)
