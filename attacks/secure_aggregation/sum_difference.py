"""Two sums of the same round, with and without the target. So et al. 2023, arXiv:2106.03328."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from attacks.secure_aggregation.shared.masked_sums import everybody, others_than, staged, total
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class SumDifference(SecureAggregationAttack):
    """Asks all clients, then all but the target, for the same model, and subtracts the two sums."""

    kind: Literal["sum-difference"] = "sum-difference"
    title: ClassVar[str] = "Difference of two sums"
    source: ClassVar[str] = "So et al. 2023, arXiv:2106.03328"
    attacker: ClassVar[str] = "a server that chooses the cohort and sends one model twice"
    knows: ClassVar[str] = "only the sums; the other clients train alike in both rounds"
    fails: ClassVar[str] = (
        "other clients whose updates change between the rounds: new batches, new noise"
    )
    fresh: bool = Field(False, description="the clients draw new batches in each round")

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Yield one claim: the difference of the weighted sums."""
        others = others_than(server, target, 3, self.kind)
        whole, its_weight = total(staged(server, StagedRound(clients=everybody(server))))
        without = staged(server, StagedRound(clients=others, again=True, fresh=self.fresh))
        rest, rest_weight = total(without)
        weight = its_weight - rest_weight
        name = f"sum of {len(others) + 1} less sum of {len(others)}"
        notes = (f"two rounds were asked for the same model, of {len(others) + 1} clients and of "
                 f"the {len(others)} others",)  # fmt: skip
        yield UpdateEstimate(
            name, 1, 1, (whole - rest) / max(weight, 1.0), weight=weight, notes=notes
        )
