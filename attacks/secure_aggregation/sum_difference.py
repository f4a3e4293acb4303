"""The same round with and without the target. So et al. 2023, arXiv:2106.03328."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from attacks.secure_aggregation.shared.masked_sums import everybody, others_than, staged, total
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class SumDifference(SecureAggregationAttack):
    """Ask everybody, then everybody but the target, for the same model: two sums, one update."""

    kind: Literal["sum-difference"] = "sum-difference"
    source: ClassVar[str] = "So et al. 2023, arXiv:2106.03328"
    attacker: ClassVar[str] = "a server that chooses whom it asks and sends one model twice"
    knows: ClassVar[str] = "nothing besides the sums; the others train in both rounds as in one"
    fails: ClassVar[str] = "others whose updates change in between: new batches, new noise"
    fresh: bool = Field(False, description="whether the clients draw new batches in each round")

    def __call__(self, siege: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """One claim: the difference of the weighted sums."""
        others = others_than(siege, target, 3, self.kind)
        whole, its_weight = total(staged(siege, StagedRound(clients=everybody(siege))))
        without = staged(siege, StagedRound(clients=others, again=True, fresh=self.fresh))
        rest, rest_weight = total(without)
        weight = its_weight - rest_weight
        name = f"sum of {len(others) + 1} less sum of {len(others)}"
        notes = (f"two rounds were asked for the same model, of {len(others) + 1} clients and of "
                 f"the {len(others)} others",)  # fmt: skip
        yield UpdateEstimate(
            name, 1, 1, (whole - rest) / max(weight, 1.0), weight=weight, notes=notes
        )
