"""Sums over ever smaller cohorts. Kairouz et al. 2021, arXiv:1912.04977."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attacks.secure_aggregation.shared.masked_sums import everybody, total
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class SingleOut(SecureAggregationAttack):
    """Shrinks the cohort around the target until the sum of few clients reveals its update."""

    kind: Literal["single-out"] = "single-out"
    title: ClassVar[str] = "Shrinking cohorts"
    source: ClassVar[str] = "Kairouz et al. 2021, arXiv:1912.04977"
    attacker: ClassVar[str] = "a server that chooses the cohort"
    knows: ClassVar[str] = "only the sums"
    fails: ClassVar[str] = (
        "sums of many clients; clients that check the terms join no sum of fewer than 3"
    )

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Yield a claim for each cohort, from all clients down by halves to three: their mean.

        There is one for two clients, too, where clients do not refuse to take part.
        """
        others = [one for one in everybody(server) if one != target]
        sizes = [len(others) + 1]
        while sizes[-1] > 3:
            sizes.append(max(3, sizes[-1] // 2))
        pair = server.play(StagedRound(clients=tuple(sorted([target, *others[:1]])), announced=2))
        notes = (f"asked for a sum of 2, the clients gave nothing: {pair.note}",)
        if len(pair.rows):
            notes = ("asked for a sum of 2, the clients gave it",)
            sizes.append(2)
        for step, size in enumerate(sizes, start=1):
            cohort = tuple(sorted([target, *others[: size - 1]]))
            view = server.view if step == 1 else server.play(StagedRound(clients=cohort))
            view = pair if size == 2 else view
            if not len(view.rows):
                continue
            update, weight = total(view)
            name = f"sum of {len(view.senders[0])}"
            yield UpdateEstimate(
                name, step, len(sizes), update / weight, weight=weight / size, notes=notes
            )
