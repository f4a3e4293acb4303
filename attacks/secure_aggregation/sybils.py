"""Accomplices' known updates are subtracted from the sum. Bonawitz et al. 2017, eprint 2017/281.

A server that chooses the cohort needs few accomplices: in a round of three clients, two are all the
others.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from attacks.secure_aggregation.shared.masked_sums import everybody, left_of, others_than, staged
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class Sybils(SecureAggregationAttack):
    """Fills the cohort with accomplices and subtracts their updates: the rest is the target's."""

    kind: Literal["sybils"] = "sybils"
    title: ClassVar[str] = "Sybil clients in the sum"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281; Douceur 2002"
    attacker: ClassVar[str] = "a server with accomplices among the clients"
    knows: ClassVar[str] = "the updates of its accomplices, including any noise in them"
    fails: ClassVar[str] = "sums that contain other honest clients; noise that the target adds"
    honest: int = Field(0, ge=0, le=1000, description="number of honest clients beside the target")

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Yield one claim: exact up to the ring's rounding, or a mean with other honest clients."""
        others = others_than(server, target, 2, self.kind)
        mine = others[: max(0, len(others) - self.honest)]
        view = staged(server, StagedRound(clients=everybody(server), accomplices=mine))
        update, weight = left_of(view)
        left = len(others) - len(mine) + 1
        name = f"sum less {len(mine)} accomplices"
        rest = "the target alone" if left == 1 else f"the mean of {left} honest clients"
        notes = (f"{len(mine)} of {len(others) + 1} clients are accomplices: left is {rest}",)
        yield UpdateEstimate(name, 1, 1, update / weight, weight=weight / left, notes=notes)
