"""Splits: every one shares it all out, and leaves nobody without."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from datasets import PARTITIONS
from lab.common.random_streams import random_stream

SEEDS = st.integers(0, 10**6)
TEN_CLASSES = np.repeat(np.arange(10), 10)


def shares_of(
    kind: str,
    labels: np.ndarray,
    clients: int,
    seed: int = 0,
    groups: np.ndarray | None = None,
    **settings: float,
) -> list[np.ndarray]:
    split = PARTITIONS[kind].read(settings)
    return list(split(labels, groups, clients, random_stream(seed, "split")))


def sizes(shares: list[np.ndarray]) -> list[int]:
    return [len(share) for share in shares]


# --- by hand ------------------------------------------------------------------------------------


def test_iid_clients_hold_alike() -> None:
    assert sizes(shares_of("iid", np.zeros(14, int), 4)) == [4, 4, 3, 3]


def test_quantity_skew_of_one_is_zipfs_law() -> None:
    """14 examples, one for each of three clients at first; the 11 others as 6 : 3 : 2."""
    assert sizes(shares_of("quantity", np.zeros(14, int), 3, skew=1.0)) == [7, 4, 3]


def test_quantity_without_skew_is_even() -> None:
    assert sizes(shares_of("quantity", np.zeros(12, int), 4, skew=0.0)) == [3, 3, 3, 3]


def test_quantity_with_strong_skew_still_leaves_everybody_one() -> None:
    assert sizes(shares_of("quantity", np.zeros(12, int), 10, skew=3.0))[1:] == [1] * 9


def test_two_shards_are_at_most_two_classes() -> None:
    """Ten shards of ten examples each, and one class each."""
    shares = shares_of("shards", TEN_CLASSES, 5, shards=2)
    assert sizes(shares) == [20] * 5
    assert [len(np.unique(TEN_CLASSES[share])) for share in shares] == [2] * 5


def test_one_shard_is_one_class() -> None:
    shares = shares_of("shards", TEN_CLASSES, 10, shards=1)
    assert sorted(int(TEN_CLASSES[share].mean()) for share in shares) == list(range(10))
    assert all(np.ptp(TEN_CLASSES[share]) == 0 for share in shares)


def test_whose_shard_is_which_is_drawn() -> None:
    drawn = [shares_of("shards", TEN_CLASSES, 10, seed, shards=1) for seed in range(5)]
    assert len({int(TEN_CLASSES[shares[0]][0]) for shares in drawn}) > 1


def test_natural_owners_keep_their_own() -> None:
    shares = shares_of("natural", np.zeros(5, int), 3, groups=np.array([2, 0, 2, 1, 0]))
    assert [share.tolist() for share in shares] == [[1, 4], [3], [0, 2]]


def test_dirichlet_deals_each_class_out_by_one_draw() -> None:
    """A slow twin: the share of a class that a client gets is its part of the Dirichlet draw."""
    labels, generator = np.repeat([0, 1], [4000, 6000]), random_stream(0, "split")
    shares = shares_of("dirichlet", labels, 5, alpha=1.0)
    for label, amount in ((0, 4000), (1, 6000)):
        generator.permutation(amount)
        parts = generator.dirichlet(np.ones(5))
        held = [int((labels[share] == label).sum()) for share in shares]
        assert held == pytest.approx(parts * amount, abs=1)


# --- promises -----------------------------------------------------------------------------------


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Labels, owners and a number of clients, as few examples as clients or many more."""
    clients = draw(st.integers(2, 30))
    generator = np.random.default_rng(draw(SEEDS))
    examples = draw(st.integers(2 * clients, 400) | st.just(2 * clients))
    labels = generator.integers(0, draw(st.integers(1, 10)), examples)
    return labels, generator.integers(0, clients, examples), clients


@pytest.mark.parametrize("kind", PARTITIONS)
@given(table=tables(), seed=SEEDS)
def test_a_split_gives_every_example_to_one_client(
    kind: str, table: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    labels, groups, clients = table
    shares = shares_of(kind, labels, clients, seed, groups)
    assert len(shares) == clients
    assert np.sort(np.concatenate(shares)).tolist() == list(range(len(labels)))


@pytest.mark.parametrize("kind", PARTITIONS)
@given(table=tables(), seed=SEEDS)
def test_a_split_is_the_same_for_the_same_seed(
    kind: str, table: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    labels, groups, clients = table
    one, other = (shares_of(kind, labels, clients, seed, groups) for _ in range(2))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


@pytest.mark.parametrize("kind", [kind for kind in PARTITIONS if kind != "natural"])
def test_a_split_is_another_for_another_seed(kind: str) -> None:
    drawn = [shares_of(kind, TEN_CLASSES, 5, seed) for seed in range(5)]
    assert len({str([share.tolist() for share in shares]) for shares in drawn}) == 5


def test_the_natural_split_knows_no_chance() -> None:
    groups = np.arange(100) % 4
    one, other = (shares_of("natural", TEN_CLASSES, 4, seed, groups) for seed in (0, 1))
    assert [share.tolist() for share in one] == [share.tolist() for share in other]


@given(table=tables(), seed=SEEDS)
def test_iid_sizes_differ_by_one_at_most(
    table: tuple[np.ndarray, np.ndarray, int], seed: int
) -> None:
    found = sizes(shares_of("iid", table[0], table[2], seed))
    assert max(found) - min(found) <= 1


@given(table=tables(), seed=SEEDS, alpha=st.sampled_from([0.01, 0.1, 1.0, 100.0]))
def test_dirichlet_leaves_nobody_empty(
    table: tuple[np.ndarray, np.ndarray, int], seed: int, alpha: float
) -> None:
    assert min(sizes(shares_of("dirichlet", table[0], table[2], seed, alpha=alpha))) >= 1


@given(table=tables(), seed=SEEDS, skew=st.floats(0, 3))
def test_quantity_leaves_nobody_empty_and_the_first_holds_most(
    table: tuple[np.ndarray, np.ndarray, int], seed: int, skew: float
) -> None:
    found = sizes(shares_of("quantity", table[0], table[2], seed, skew=skew))
    assert min(found) >= 1
    assert all(one >= other - 1 for one, other in pairwise(found))


@given(table=tables(), seed=SEEDS, shards=st.integers(1, 2))
def test_shards_leave_nobody_empty_and_are_alike(
    table: tuple[np.ndarray, np.ndarray, int], seed: int, shards: int
) -> None:
    found = sizes(shares_of("shards", table[0], table[2], seed, shards=shards))
    assert min(found) >= 1
    assert max(found) - min(found) <= shards


@pytest.mark.parametrize("kind", ["dirichlet", "quantity", "iid", "shards"])
def test_as_many_clients_as_examples_hold_one_each(kind: str) -> None:
    only = {"shards": 1} if kind == "shards" else {}
    assert sizes(shares_of(kind, TEN_CLASSES, 100, **only)) == [1] * 100
