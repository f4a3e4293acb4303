"""Secure aggregation: the exchange is exact or says nothing, and the channel says what it did."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from defenses.secure_aggregation import Masked, Refused, Ring, Terms
from lab.interfaces.messages import Cohort, ReceivedUpdates
from tests.support.masked_clients import SEEDS, exchanged, ring_sum, words_of

FLOAT32 = 2**-23  # relative spacing of float32


def cohort_of(weights: Sequence[float], lost: Sequence[int] = ()) -> Cohort:
    """Clients 10, 11... of which those at the places `lost` are not heard of again."""
    count = len(weights)
    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(10, 10 + count)),
        weights=torch.tensor(weights),
        malicious=torch.zeros(count, dtype=torch.bool),
        lost=torch.tensor([place in lost for place in range(count)], dtype=torch.bool),
        expected=float(count),
    )


def rows_of(seed: int, clients: int, params: int = 50) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def delivered(
    rows: Tensor, weights: Sequence[float], lost: Sequence[int] = (), **settings: float
) -> ReceivedUpdates:
    channel = Masked(**({"heaviest": max(weights)} | settings))
    return channel(rows, cohort_of(weights, lost), torch.zeros(rows.shape[1]))


# --- the exchange ---------------------------------------------------------------------------------


@given(seed=SEEDS, data=st.data())
def test_the_sum_of_those_who_answered_is_exact(seed: int, data: st.DataObject) -> None:
    clients = data.draw(st.integers(3, 8), "clients")
    threshold = data.draw(st.integers(max(3, clients // 2 + 1), clients), "threshold")
    gone = data.draw(st.integers(0, clients - threshold), "gone")
    lost = data.draw(st.permutations(range(clients)), "order")[:gone]
    words = words_of(seed, clients)
    exchange = exchanged(words, threshold, lost)
    alive = [me for me in range(clients) if me not in lost]
    assert np.array_equal(exchange.total, ring_sum(words[alive]))
    assert exchange.masked.shape == words[alive].shape
    assert exchange.alive == tuple(alive)


@pytest.mark.parametrize("gone", [3, 4, 5])
def test_below_the_threshold_nothing_is_unmasked(gone: int) -> None:
    """Keys, letters and masked rows have travelled by then, and are counted."""
    words = words_of(0, 5, 100)
    exchange = exchanged(words, 3, range(gone))
    assert exchange.total is None
    assert exchange.aborted == f"{5 - gone} of 5 clients answered and 3 are needed"
    assert exchange.masked.shape == (5 - gone, words.shape[1])
    assert exchange.bytes_up == 5 * 64 + 25 * 156 + exchange.masked.nbytes


def test_two_clients_alone_are_summed_only_where_they_check_nothing() -> None:
    words = words_of(1, 2)
    with pytest.raises(Refused, match="client 0 takes part in no sum of 2"):
        exchanged(words, 2)
    careless = Terms(2, 2, checks=False)
    assert np.array_equal(exchanged(words, careless).total, ring_sum(words))
    assert exchanged(words, careless, [0]).total is None


def test_the_server_sees_other_words_each_time_and_the_same_sum() -> None:
    words = words_of(2, 4, 1000)
    one, other = (exchanged(words, 3, [3]) for _ in range(2))
    assert np.array_equal(one.total, other.total)
    assert (one.masked != other.masked).mean() > 0.99


def test_the_words_handed_in_are_left_as_they_were() -> None:
    words = words_of(3, 4)
    before = words.copy()
    exchanged(words, 3, [1])
    assert np.array_equal(words, before)


def test_bytes_are_counted_message_by_message() -> None:
    """Four clients, one lost: keys, letters, masked words and shares, added up on paper."""
    exchange = exchanged(words_of(4, 4, 100), 3, [1])
    keys, letter, share = 64, 12 + 2 * 64 + 16, 64  # a limb of 16 bits travels in 4 bytes
    assert exchange.bytes_up == 4 * keys + 16 * letter + 3 * 400 + 3 * 4 * share
    assert exchange.bytes_down == 16 * keys + 16 * letter


# --- the channel ----------------------------------------------------------------------------------


@given(seed=SEEDS, data=st.data())
def test_the_one_row_is_the_weighted_mean_within_the_stated_error(
    seed: int, data: st.DataObject
) -> None:
    clients = data.draw(st.integers(3, 7), "clients")
    weights = data.draw(st.lists(st.integers(1, 500), min_size=clients, max_size=clients))
    needed = max(3, -(-67 * clients // 100))
    lost = list(range(data.draw(st.integers(0, clients - needed), "gone")))
    rows = rows_of(seed, clients)
    delivery = delivered(rows, [float(weight) for weight in weights], lost)

    here = torch.tensor([place not in lost for place in range(clients)])
    shares = torch.tensor(weights, dtype=torch.float64)[here]
    mean = shares @ rows[here].double() / shares.sum()
    stated = Ring(clients, 8.0, float(max(weights))).error(int(here.sum()), float(shares.sum()))
    gap = (delivery.rows[0].double() - mean).abs()
    assert delivery.rows.shape == (1, rows.shape[1])
    assert delivery.rows.dtype == torch.float32
    assert (gap <= stated + FLOAT32 * mean.abs()).all()
    assert delivery.weights.tolist() == [float(shares.sum())]
    assert delivery.arrived.tolist() == here.tolist()
    assert delivery.senders == (tuple(10 + place for place in range(clients) if here[place]),)
    assert delivery.note == ""


def test_bytes_grow_with_the_model_by_four_a_word_a_client() -> None:
    small, large = (delivered(torch.zeros(5, size), [1.0] * 5, [0]) for size in (10, 1010))
    assert large.bytes_up >= 4 * 4 * 1011
    assert large.bytes_up - small.bytes_up == 4 * 4 * 1000  # of those who arrived
    assert large.bytes_down - small.bytes_down == 5 * 4 * 1000  # the model, to each one asked
    assert small.bytes_down > 5 * 40


def test_coordinates_beyond_the_bound_are_clipped_and_reported() -> None:
    rows = torch.tensor([[9.0, -20.0, 1.0], [8.0, 1.0, 100.0], [1.0, 1.0, 1.0]])
    delivery = delivered(rows, [1.0, 1.0, 1.0])
    assert delivery.note == "3 coordinates were clipped to 8 before masking"
    assert torch.allclose(delivery.rows[0], torch.tensor([17 / 3, -2.0, 10 / 3]), atol=1e-6)


def test_what_a_lost_client_would_have_clipped_is_not_reported() -> None:
    rows = torch.ones(4, 3)
    rows[2] = 99.0
    assert delivered(rows, [1.0] * 4, [2]).note == ""


def test_an_aborted_round_delivers_nothing_but_a_note() -> None:
    delivery = delivered(rows_of(0, 5), [1.0] * 5, [0, 1])
    assert delivery.note == ("secure aggregation aborted: 3 of 5 clients answered and 4 are needed")
    assert delivery.rows.shape == (0, 50)
    assert delivery.weights.shape == (0,)
    assert delivery.senders == ()
    assert not delivery.arrived.any()
    assert delivery.aborted
    assert delivery.masked is not None  # it saw them, and they tell it nothing
    assert len(delivery.masked) == 3
    assert delivery.bytes_down > 5 * 4 * 50


@pytest.mark.parametrize(("clients", "lost"), [(0, []), (1, []), (2, []), (2, [1]), (3, [1])])
def test_no_two_are_ever_summed_alone(clients: int, lost: list[int]) -> None:
    channel = Masked(threshold=0.51)
    delivery = channel(rows_of(0, clients), cohort_of([1.0] * clients, lost), torch.zeros(50))
    assert "aborted" in delivery.note
    assert len(delivery.rows) == 0


def test_a_cohort_without_any_example_delivers_no_step() -> None:
    delivery = delivered(rows_of(0, 3), [0.0, 0.0, 0.0], heaviest=5.0)
    assert delivery.weights.tolist() == [0.0]
    assert not delivery.rows.any()
