"""Clients fall silent at any stage, on both graphs: the sum stays exact, or nobody unmasks."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from defenses.secure_aggregation import Masked, Refused, Terms, enough
from defenses.secure_aggregation.protocol import STAGES
from defenses.secure_aggregation.terms import FEWEST, Stage
from lab.interfaces.messages import Cohort
from tests.support.masked_clients import SEEDS, Loaded, exchanged, ring_sum, words_of

EVERYBODY = Terms(10, 7)
REGULAR = Terms(10, 7, neighbours=6, quorum=4)  # of seven: three gone leave enough everywhere
GRAPHS = {"everybody": EVERYBODY, "regular": REGULAR}
DID = {
    "keys": "advertised their keys",
    "shares": "shared their secrets",
    "input": "answered",
    "unmasking": "helped to unmask",
}


def counted(silent: dict[int, Stage], clients: int = 10) -> list[int]:
    """Whose masked rows come."""
    return [me for me in range(clients) if silent.get(me, "unmasking") == "unmasking"]


@pytest.mark.parametrize("signatures", [False, True])
@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("gone", [(), (4,), (0, 9), (2, 3, 5)])
def test_the_sum_survives_clients_silent_from_any_stage(
    gone: tuple[int, ...], stage: Stage, graph: str, signatures: bool
) -> None:
    words, silent = words_of(1, 10), dict.fromkeys(gone, stage)
    exchange = exchanged(words, replace(GRAPHS[graph], signatures=signatures), silent)
    assert exchange.aborted == ""
    assert exchange.alive == tuple(counted(silent))
    assert np.array_equal(exchange.total, ring_sum(words[counted(silent)]))


@pytest.mark.parametrize("graph", GRAPHS)
@pytest.mark.parametrize("stage", STAGES)
def test_one_more_than_the_threshold_allows_breaks_the_round_off(stage: Stage, graph: str) -> None:
    words = words_of(2, 10)
    exchange = exchanged(words, GRAPHS[graph], dict.fromkeys((1, 4, 6, 8), stage))
    assert exchange.total is None
    assert exchange.aborted == f"6 of 10 clients {DID[stage]} and 7 are needed"
    assert len(exchange.masked) == {"input": 6, "unmasking": 10}.get(stage, 0)


@given(seed=SEEDS, data=st.data())
def test_whatever_happens_the_sum_is_exact_or_nothing(seed: int, data: st.DataObject) -> None:
    clients = data.draw(st.integers(3, 14), "clients")
    neighbours = data.draw(st.sampled_from([0, *range(2, clients)]), "neighbours")
    fates = data.draw(st.lists(st.none() | st.sampled_from(STAGES), max_size=clients))
    silent = {me: fate for me, fate in enumerate(fates) if fate}
    quorum = enough(0.51, neighbours + 1, FEWEST) if neighbours else 0
    words, threshold = words_of(seed, clients), max(FEWEST, clients // 2 + 1)
    exchange = exchanged(words, Terms(clients, threshold, neighbours, quorum), silent)
    assert (exchange.total is None) == bool(exchange.aborted)
    if exchange.total is not None:
        assert np.array_equal(exchange.total, ring_sum(words[counted(silent, clients)]))
    elif not neighbours:
        helpers = clients - len(silent)
        assert helpers < threshold


def test_clients_of_every_fate_in_one_round() -> None:
    words = words_of(3, 12)
    silent: dict[int, Stage] = {0: "keys", 3: "shares", 7: "input", 11: "unmasking"}
    exchange = exchanged(words, 7, silent)
    assert exchange.alive == (1, 2, 4, 5, 6, 8, 9, 10, 11)
    assert np.array_equal(exchange.total, ring_sum(words[list(exchange.alive)]))


def test_a_neighbourhood_with_too_few_breaks_the_round_off() -> None:
    """Nine of ten answer, but the two beside the lost one need all three of their neighbourhood."""
    terms = Terms(10, 6, neighbours=2, quorum=3)
    exchange = exchanged(words_of(4, 10), terms, [0], draw=Loaded.ring(10))
    assert exchange.aborted == "2 of 3 in a neighbourhood answered and 3 are needed"
    assert exchange.total is None


def test_survivors_in_two_pieces_are_not_unmasked() -> None:
    """Two rings of five, who chose none of each other: two sums would show."""
    pieces = [[base + (me + step) % 5 for step in (1, 2)] for base in (0, 5) for me in range(5)]
    draw = cast(np.random.Generator, Loaded(pieces))
    exchange = exchanged(words_of(5, 10), Terms(10, 6, neighbours=2, quorum=3), draw=draw)
    assert exchange.total is None
    assert "share no masks with each other" in exchange.aborted


def test_a_lost_client_whose_key_nobody_can_join_breaks_the_round_off() -> None:
    """On the ring, the second neighbours on either side do not help; only hers lacks shares."""
    silent: dict[int, Stage] = {0: "input", 2: "unmasking", 8: "unmasking"}
    terms = Terms(10, 6, neighbours=4, quorum=3)
    exchange = exchanged(words_of(8, 10), terms, silent, draw=Loaded.ring(10, 2))
    assert exchange.aborted == "2 of 5 in a neighbourhood helped to unmask and 3 are needed"


def test_bytes_of_a_regular_graph_are_counted_message_by_message() -> None:
    """Ten clients who chose four each: five letters each, and keys of those who chose it too."""
    exchange = exchanged(words_of(6, 10, 100), Terms(10, 7, 4, 3))
    keys, choice, letter, share = 64, 4 * 4, 12 + 2 * 64 + 16, 64
    assert exchange.bytes_up == 10 * (keys + choice) + 50 * letter + 10 * 400 + 50 * share
    known = sum(len(beside) + 1 for beside in exchange.partners.values())  # itself included
    assert 50 < known <= 90
    assert exchange.bytes_down == known * keys + 50 * letter


def test_a_threshold_of_half_is_refused_by_the_clients() -> None:
    """Half would answer that a client lives, the other half that it does not."""
    with pytest.raises(Refused, match="with threshold 5 of 10"):
        exchanged(words_of(7, 10), 5)


@pytest.mark.parametrize(
    ("share", "count", "needed"),
    [(0.67, 10, 7), (0.7, 10, 7), (0.500001, 4, 3), (1.0, 5, 5), (0.67, 11, 8), (0.51, 2, 2)],
)
def test_enough_is_rounded_up_and_more_than_half(share: float, count: int, needed: int) -> None:
    assert enough(share, count) == needed


# --- the channel ----------------------------------------------------------------------------------


def party(clients: int, lost: list[int], **flags: list[int]) -> Cohort:
    def marked(places: list[int]) -> torch.Tensor:
        return torch.tensor([place in places for place in range(clients)], dtype=torch.bool)

    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(20, 20 + clients)),
        weights=torch.ones(clients),
        malicious=marked([]),
        lost=marked(lost),
        expected=float(clients),
        late=marked(flags["late"]) if "late" in flags else None,
        broken=marked(flags["broken"]) if "broken" in flags else None,
    )


@pytest.mark.parametrize("neighbours", [0, 4])
@pytest.mark.parametrize("stage", STAGES)
def test_the_channel_delivers_whose_masked_rows_came(stage: Stage, neighbours: int) -> None:
    rows = torch.arange(20.0).reshape(10, 2) / 10
    channel = Masked(silent=stage, neighbours=neighbours, threshold=0.51)
    delivery = channel(rows, party(10, [3]), torch.zeros(2))
    here = [place for place in range(10) if stage == "unmasking" or place != 3]
    assert delivery.note == ""
    assert delivery.senders == (tuple(20 + place for place in here),)
    assert delivery.arrived.tolist() == [place in here for place in range(10)]
    assert torch.allclose(delivery.rows[0], rows[here].mean(dim=0), atol=1e-6)


@pytest.mark.parametrize("flag", ["late", "broken"])
def test_who_is_late_or_sends_no_numbers_never_counts(flag: str) -> None:
    channel = Masked(silent="unmasking", threshold=0.51)
    delivery = channel(torch.ones(6, 2), party(6, [1, 4], **{flag: [4]}), torch.zeros(2))
    assert delivery.senders == ((20, 21, 22, 23, 25),)


def test_the_graph_follows_from_seed_and_round() -> None:
    """Whether a round is broken off may depend on it, and records must come out alike."""
    channel = Masked(neighbours=2, threshold=1.0)
    notes = [channel(torch.ones(9, 2), party(9, [2]), torch.zeros(2)).note for _ in range(3)]
    assert len(set(notes)) == 1
