"""Tell some that the target lives, others that it is gone. Bonawitz et al. 2017, eprint 2017/281.

Shares of its own mask open one half of its row, shares of its key the other: with both the server
would read the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attacks.secure_aggregation.shared.masked_sums import opened, others_than
from lab.interfaces.attack_data import MaliciousServer, ShareResponses, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class AliveAndDead(SecureAggregationAttack):
    """Ask for both halves of the target's masks: refused, and by the threshold impossible."""

    kind: Literal["alive-and-dead"] = "alive-and-dead"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281, figure 4"
    attacker: ClassVar[str] = "a server that lies about who was lost"
    knows: ClassVar[str] = "nothing besides the shares that it is given"
    fails: ClassVar[str] = (
        "thresholds above half, which are all that clients accept; it has no accomplice"
    )

    def __call__(self, siege: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Three lies, none of which yields an update."""
        others = others_than(siege, target, 2, self.kind)
        others = tuple(one for one in opened(siege.view).holders[target] if one in others)
        living, gone = (target, *others[1::2]), others[::2]
        everyone = (target, *others)
        both = siege.interview(target, everyone, others, 0)
        halves = siege.interview(target, living, gone, 0)
        few = min(len(living), len(gone))
        lower = siege.interview(target, living, gone, few)
        told = (
            f"one list with client {target} as alive and as gone: {_told(both)}",
            f"two lists, alive to {len(living)} and gone to {len(gone)}: {_told(halves)}",
            f"two lists and a threshold of {few}, which would let it through: {_told(lower)}",
        )
        name = "shares of the target"
        for step in range(1, 4):
            yield UpdateEstimate(name, step, 3, notes=told[:step])


def _told(found: ShareResponses) -> str:
    """What was given, beside what it would take."""
    given = (
        f"it got {found.seeds} of the {found.needed} shares that open its own mask, and "
        f"{found.keys} of the {found.needed} that open its key"
    )
    count = len(found.refusals)
    if not count:
        return given
    return f"{given}; {count} refused, such as: {found.refusals[0]}"
