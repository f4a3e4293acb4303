"""The random regular graph: as many neighbours for each, in one piece, another one each round."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from defenses.secure_aggregation.graph import connected, graph_of
from tests.masks import CHANCE, SEEDS


@given(seed=SEEDS, data=st.data())
def test_the_graph_is_symmetric_regular_and_in_one_piece(seed: int, data: st.DataObject) -> None:
    members = sorted(data.draw(st.sets(st.integers(0, 200), min_size=4, max_size=60)))
    neighbours = 2 * data.draw(st.integers(1, (len(members) - 1) // 2))
    graph = graph_of(members, neighbours, np.random.default_rng(seed))
    assert sorted(graph) == members
    for me, beside in graph.items():
        assert me in beside
        assert len(set(beside)) == neighbours + 1
        assert list(beside) == sorted(beside)
        assert all(me in graph[peer] for peer in beside)
    assert connected(graph, members)


@given(seed=SEEDS, data=st.data())
def test_fewer_gone_than_there_are_neighbours_leave_it_in_one_piece(
    seed: int, data: st.DataObject
) -> None:
    """A Harary graph is as connected as a regular graph can be."""
    neighbours = 2 * data.draw(st.integers(1, 4))
    clients = data.draw(st.integers(neighbours + 2, 24))
    graph = graph_of(range(clients), neighbours, np.random.default_rng(seed))
    gone = data.draw(st.sets(st.integers(0, clients - 1), max_size=neighbours - 1))
    assert connected(graph, set(range(clients)) - gone)


def test_a_ring_without_two_opposite_members_is_in_two_pieces() -> None:
    graph = {me: ((me - 1) % 6, me, (me + 1) % 6) for me in range(6)}
    assert connected(graph, {0, 1, 2, 3, 4})
    assert not connected(graph, {1, 2, 4, 5})
    assert connected(graph, set())


@pytest.mark.parametrize("neighbours", [0, 4, 6, 100])
def test_with_none_or_too_many_neighbours_everybody_is_one(neighbours: int) -> None:
    graph = graph_of([3, 1, 7, 5, 9], neighbours, np.random.default_rng(0))
    assert graph == dict.fromkeys([1, 3, 5, 7, 9], (1, 3, 5, 7, 9))


@pytest.mark.parametrize("neighbours", [-2, 3])
def test_an_odd_number_of_neighbours_is_refused(neighbours: int) -> None:
    with pytest.raises(ValueError, match=f"{neighbours} neighbours: an even number"):
        graph_of(range(9), neighbours, np.random.default_rng(0))


def test_every_pair_is_as_likely_as_every_other() -> None:
    draw, pairs = np.random.default_rng(0), Counter[tuple[int, int]]()
    for _ in range(3000):
        for me, beside in graph_of(range(7), 2, draw).items():
            pairs.update((me, peer) for peer in beside if me < peer)
    assert len(pairs) == 21
    assert chisquare(list(pairs.values())).pvalue > CHANCE
