"""The graph that clients choose (review B6): nobody moves a choice, and what it is worth."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare, hypergeom

from defenses.secure_aggregation import Terms, enough
from defenses.secure_aggregation.graph import (
    accomplices_needed,
    chance_of_capture,
    choice,
    connected,
    graph_of,
)
from defenses.secure_aggregation.terms import FEWEST
from tests.support.masked_clients import CHANCE, SEEDS


def chosen(terms: Terms, seed: int = 0) -> dict[int, tuple[int, ...]]:
    coin = np.random.default_rng(seed)
    return {me: choice(me, terms, coin) for me in range(terms.clients)}


def terms_of(clients: int, neighbours: int, share: float = 0.67) -> Terms:
    quorum = enough(share, neighbours + 1, FEWEST) if neighbours else 0
    return Terms(clients, enough(share, clients, FEWEST), neighbours, quorum)


@given(seed=SEEDS, data=st.data())
def test_holders_are_those_a_client_chose_and_masks_go_both_ways(
    seed: int, data: st.DataObject
) -> None:
    clients = data.draw(st.integers(4, 60))
    neighbours = data.draw(st.integers(2, clients - 2))
    choices = chosen(terms_of(clients, neighbours), seed)
    there = data.draw(st.sets(st.sampled_from(range(clients)), min_size=1))
    graph = graph_of({me: choices[me] for me in there})
    for me in there:
        assert len(set(choices[me]) - {me}) == neighbours
        assert graph.holders[me] == tuple(sorted(there & {*choices[me], me}))
        assert graph.owners[me] == tuple(it for it in sorted(there) if me in {*choices[it], it})
        assert set(graph.beside[me]) == {*graph.holders[me], *graph.owners[me]}
        assert all(me in graph.beside[peer] for peer in graph.beside[me])


def test_a_graph_without_two_opposite_members_is_in_two_pieces() -> None:
    ring = {me: ((me - 1) % 6, me, (me + 1) % 6) for me in range(6)}
    assert connected(ring, {0, 1, 2, 3, 4})
    assert not connected(ring, {1, 2, 4, 5})
    assert connected(ring, set())


def test_chosen_graphs_are_in_one_piece_nearly_always() -> None:
    """Two choices each are enough (Fenner and Frieze 1982)."""
    whole = [
        connected(graph_of(chosen(terms_of(40, 2), seed)).beside, range(40)) for seed in range(200)
    ]
    assert sum(whole) >= 198


def test_without_neighbours_everybody_is_one() -> None:
    graph = graph_of(dict.fromkeys([3, 1, 7], ()), regular=False)
    assert graph.holders == graph.owners == graph.beside == dict.fromkeys([1, 3, 7], (1, 3, 7))
    assert choice(3, Terms(9, 7), np.random.default_rng(0)) == ()


def test_every_pair_is_as_likely_as_every_other() -> None:
    coin, pairs = np.random.default_rng(0), Counter[tuple[int, int]]()
    for _ in range(3000):
        for me in range(7):
            pairs.update((me, peer) for peer in choice(me, terms_of(7, 2), coin))
    assert len(pairs) == 42
    assert chisquare(list(pairs.values())).pvalue > CHANCE


# --- what a choice is worth -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clients", "neighbours", "share", "needed"),
    [
        (10, 0, 0.67, 4),  # 7 of 10: 3 are told one story, 3 another, 4 tell both
        (10, 0, 1.0, 9),  # all others
        (3, 0, 0.67, 2),  # all three are needed, so both others
        (30, 10, 0.67, 5),  # 8 of 11
        (30, 10, 0.51, 1),  # 6 of 11: 5 and 5, and one who tells both
        (30, 2, 0.67, 2),  # both
    ],
)
def test_so_many_accomplices_open_a_client(
    clients: int, neighbours: int, share: float, needed: int
) -> None:
    """Worked out on paper."""
    assert accomplices_needed(terms_of(clients, neighbours, share)) == needed


def test_the_chance_of_capture_is_that_of_every_choice_counted() -> None:
    terms, accomplices = terms_of(9, 4), {0, 1, 2}
    assert accomplices_needed(terms) == 3
    choices = list(combinations(range(8), 4))
    bad = sum(len(accomplices & {*one}) >= 3 for one in choices)
    assert chance_of_capture(terms, 3) == pytest.approx(bad / comb(8, 4), rel=1e-12)


@given(data=st.data())
def test_the_chance_of_capture_is_hypergeometric(data: st.DataObject) -> None:
    clients = data.draw(st.integers(5, 300))
    neighbours = data.draw(st.integers(2, clients - 2))
    accomplices = data.draw(st.integers(0, clients - 1))
    terms = terms_of(clients, neighbours)
    at_least = hypergeom.sf(accomplices_needed(terms) - 1, clients - 1, accomplices, neighbours)
    assert chance_of_capture(terms, accomplices) == pytest.approx(at_least, rel=1e-8, abs=1e-12)


def test_where_everybody_holds_shares_nothing_is_left_to_chance() -> None:
    assert chance_of_capture(terms_of(10, 0), 3) == 0
    assert chance_of_capture(terms_of(10, 0), 4) == pytest.approx(1)
