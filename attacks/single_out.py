"""Ask ever fewer clients for a sum. Kairouz et al. 2021, arXiv:1912.04977."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attacks.sums import everybody, total
from lab.parts import Unmasking
from lab.views import Claim, Plot, Siege


class SingleOut(Unmasking):
    """Shrink the cohort around the target: what the plain sum of few tells of one of them."""

    kind: Literal["single-out"] = "single-out"
    source: ClassVar[str] = "Kairouz et al. 2021, arXiv:1912.04977"
    attacker: ClassVar[str] = "a server that chooses whom it asks"
    knows: ClassVar[str] = "nothing besides the sums"
    fails: ClassVar[str] = "any cohort that the lab lets pass: of fewer than 3 it unmasks no sum"

    def __call__(self, siege: Siege, target: int) -> Iterator[Claim]:
        """A claim for each cohort, from everybody down by halves to three: their mean."""
        others = [one for one in everybody(siege) if one != target]
        sizes = [len(others) + 1]
        while sizes[-1] > 3:
            sizes.append(max(3, sizes[-1] // 2))
        refused = siege.play(Plot(clients=tuple(sorted([target, *others[:1]]))))
        for step, size in enumerate(sizes, start=1):
            cohort = tuple(sorted([target, *others[: size - 1]]))
            view = siege.play(Plot(clients=cohort)) if step > 1 else siege.view
            if not len(view.rows):
                continue
            update, weight = total(view)
            name = f"sum of {len(view.senders[0])}"
            notes = (f"asked for a sum of 2, the clients gave nothing: {refused.note}",)
            yield Claim(name, step, len(sizes), update / weight, weight=weight / size, notes=notes)
