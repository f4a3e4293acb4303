"""Who shares masks with whom: everybody, or a random regular graph.

SecAgg+ of Bell et al. 2020, eprint 2020/704, section 3: a Harary graph (Harary 1962, 'The maximum
connectivity of a graph') over a random order of the clients.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np

Graph = Mapping[int, tuple[int, ...]]  # of each client: its neighbours and itself, in order


def graph_of(members: Sequence[int], neighbours: int, draw: np.random.Generator) -> Graph:
    """Each member beside the `neighbours` nearest on a random ring; 0, or too many: everybody.

    The graph stays connected unless as many as `neighbours` clients are gone.
    """
    if neighbours % 2 or neighbours < 0:
        raise ValueError(f"{neighbours} neighbours: an even number has a graph for any cohort")
    if not neighbours or neighbours >= len(members) - 1:
        everybody = tuple(sorted(members))
        return dict.fromkeys(everybody, everybody)
    ring = draw.permutation(np.array(members))
    offsets = np.arange(-neighbours // 2, neighbours // 2 + 1)
    around = ring[(np.arange(len(ring))[:, None] + offsets) % len(ring)]  # (members, neighbours+1)
    return {
        int(me): tuple(sorted(beside)) for me, beside in zip(ring, around.tolist(), strict=True)
    }


def connected(graph: Graph, among: Collection[int]) -> bool:
    """Whether the graph between those clients is in one piece."""
    left = set(among)
    reached = [left.pop()] if left else []
    while reached:
        found = left.intersection(graph[reached.pop()])
        left -= found
        reached += found
    return not left
