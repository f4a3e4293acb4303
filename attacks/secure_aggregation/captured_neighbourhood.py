"""The server gives a client only accomplices as neighbours. Bell et al. 2020, eprint 2020/704.

Whoever draws the graph decides who holds a client's secrets and who shares masks with it.  Bell et
al. therefore let clients choose their own neighbours where the server may lie.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from attacks.secure_aggregation.shared.masked_sums import left_of, others_than
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class CapturedNeighbourhood(SecureAggregationAttack):
    """Tells the target, in a round of many clients, that its only neighbours are accomplices."""

    kind: Literal["captured-neighbourhood"] = "captured-neighbourhood"
    title: ClassVar[str] = "Captured neighbourhood"
    source: ClassVar[str] = "Bell et al. 2020, eprint 2020/704"
    attacker: ClassVar[str] = "a server with a few accomplices among the clients"
    knows: ClassVar[str] = "the keys and updates of its accomplices"
    fails: ClassVar[str] = "clients that check their neighbours against the terms of the round"
    accomplices: int = Field(
        2, ge=2, le=1000, description="number of clients that collude with the server"
    )

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Yield one claim: exact up to the ring's rounding, or none where the target refuses."""
        mine = others_than(server, target, self.accomplices + 1, self.kind)[: self.accomplices]
        few = tuple(sorted([target, *mine]))
        view = server.play(
            StagedRound(clients=few, accomplices=mine, announced=len(server.clients))
        )
        told = (
            f"client {target} was told that {len(server.clients)} clients take part and that "
            f"{len(mine)} accomplices are its neighbours"
        )
        if not len(view.rows):
            notes = (told, f"it sent nothing: {view.note}")
            yield UpdateEstimate("row of the target", 1, 1, notes=notes)
            return
        update, weight = left_of(view)
        name = f"row less {len(mine)} masks"
        yield UpdateEstimate(name, 1, 1, update / weight, weight=weight, notes=(told,))
