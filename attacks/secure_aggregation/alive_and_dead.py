"""The server claims that a client both survived and was lost. Bonawitz 2017, eprint 2017/281.

Shares of a client's own mask open one half of its row, shares of its key the other.  With both, the
server could read the row.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from attacks.secure_aggregation.shared.masked_sums import opened, others_than
from lab.interfaces.attack_data import MaliciousServer, ShareResponses, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack


class AliveAndDead(SecureAggregationAttack):
    """Asks for both halves of the target's masks; clients refuse, and the threshold prevents it."""

    kind: Literal["alive-and-dead"] = "alive-and-dead"
    title: ClassVar[str] = "Double claim (alive and lost)"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281, figure 4"
    attacker: ClassVar[str] = "a server that lies about which clients were lost"
    knows: ClassVar[str] = "only the shares that it receives"
    fails: ClassVar[str] = (
        "thresholds above half, the only ones that clients accept; the server has no accomplices"
    )

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Try three lies, none of which yields an update."""
        others = others_than(server, target, 2, self.kind)
        others = tuple(one for one in opened(server.view).holders[target] if one in others)
        living, gone = (target, *others[1::2]), others[::2]
        everyone = (target, *others)
        both = server.interview(target, everyone, others, 0)
        halves = server.interview(target, living, gone, 0)
        few = min(len(living), len(gone))
        lower = server.interview(target, living, gone, few)
        told = (
            f"one list with client {target} as alive and as gone: {_told(both)}",
            f"two lists, alive to {len(living)} and gone to {len(gone)}: {_told(halves)}",
            f"two lists and a threshold of {few}, which would let it through: {_told(lower)}",
        )
        name = "shares of the target"
        for step in range(1, 4):
            yield UpdateEstimate(name, step, 3, notes=told[:step])


def _told(found: ShareResponses) -> str:
    """Report the shares that were given and the shares needed."""
    given = (
        f"it got {found.seeds} of the {found.needed} shares that open its own mask, and "
        f"{found.keys} of the {found.needed} that open its key"
    )
    count = len(found.refusals)
    if not count:
        return given
    return f"{given}; {count} refused, such as: {found.refusals[0]}"
