"""How many clients must answer before a masked sum may be opened.  Bonawitz et al. 2017."""

from __future__ import annotations

from math import ceil

FEWEST_IN_SUM = 3  # of two, each learns the other's update from the sum


def enough(share: float, count: int, fewest: int = 2) -> int:
    """That share of `count`, rounded up, and always more than half of them.

    Of two disjoint groups one is then too small, so no server can gather shares of both secrets of
    a client by telling one group that it lives and the other that it does not.
    """
    return max(fewest, count // 2 + 1, ceil(share * count - 1e-9))
