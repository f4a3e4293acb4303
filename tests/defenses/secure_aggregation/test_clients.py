"""Clients under masks: what one of them sends says nothing, and what would tell is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from cryptography.exceptions import InvalidTag

from defenses.secure_aggregation import Client, Context, Refused, Terms
from defenses.secure_aggregation.masks import mask
from defenses.secure_aggregation.shamir import join
from tests.support.masked_clients import (
    CONTEXT,
    OTHER,
    WORDS,
    Inboxes,
    introduced,
    looks_random,
    ring_sum,
)

# --- masked rows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [0, 1, 2**31, 2**32 - 1])
def test_a_masked_row_cannot_be_told_from_random_words(value: int) -> None:
    row = np.full(WORDS, value, np.uint32)
    clients, _ = introduced([CONTEXT] * 3, 2)
    assert not looks_random(row)
    for client in clients:
        assert looks_random(client.masked(row))


def test_a_row_declared_lost_that_arrives_late_is_still_masked() -> None:
    """The point of the second mask: the server then knows all pair masks of that client."""
    clients, _ = introduced([CONTEXT] * 4, 3)
    late = clients[2].masked(np.zeros(WORDS, np.uint32))
    for peer in (0, 1, 3):
        pair = mask(clients[peer]._mask_key(2), WORDS)
        late = late + pair if peer < 2 else late - pair
    assert np.array_equal(late, mask(clients[2]._seed, WORDS))
    assert looks_random(late)


def test_all_others_but_one_and_the_server_together_do_not_see_a_row() -> None:
    clients, _ = introduced([CONTEXT] * 5, 3)
    seen = clients[0].masked(np.zeros(WORDS, np.uint32)) - mask(clients[0]._seed, WORDS)
    for colluder in (2, 3, 4):
        seen = seen - mask(clients[colluder]._mask_key(0), WORDS)
    assert looks_random(seen)


@pytest.mark.parametrize(("contexts", "cancels"), [("AAAA", True), ("BAAA", False)])
def test_clients_who_were_sent_different_models_do_not_cancel(contexts: str, cancels: bool) -> None:
    """Although here the server knows every seed, what it is left with is noise."""
    clients, _ = introduced([CONTEXT if letter == "A" else OTHER for letter in contexts], 3)
    row = np.full(WORDS, 7, np.uint32)
    total = ring_sum(np.stack([client.masked(row) for client in clients]))
    for client in clients:
        total -= mask(client._seed, WORDS)
    assert np.array_equal(total, 4 * row) == cancels
    assert looks_random(total) != cancels


# --- what a client refuses ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("alive", "dead"),
    [
        pytest.param([0, 1, 2, 3], [3, 4], id="one peer is listed alive and dead"),
        pytest.param([0, 1, 2, 3, 4], [0, 1, 2, 3, 4], id="all are listed alive and dead"),
        pytest.param([0, 1], [2, 3, 4], id="fewer than the threshold are alive"),
        pytest.param([], [0, 1, 2, 3, 4], id="nobody is alive"),
        pytest.param([1, 1, 1, 1], [], id="one peer is listed often enough for all"),
        pytest.param([0, 2, 3, 4], [1], id="the client itself is listed dead"),
        pytest.param([0, 1, 2, 9], [], id="a stranger is listed"),
    ],
)
def test_a_client_refuses_an_unsafe_request(alive: list[int], dead: list[int]) -> None:
    clients, _ = introduced([CONTEXT] * 5, 3)
    with pytest.raises(Refused, match="client 1 refuses"):
        clients[1].reveal(alive, dead)


@pytest.mark.parametrize("threshold", [0, 1])
def test_a_client_refuses_to_share_so_that_one_share_is_enough(threshold: int) -> None:
    clients = [Client(me, CONTEXT, Terms(3, 2)) for me in range(3)]
    with pytest.raises(Refused, match=f"with threshold {threshold}"):
        clients[0].share({client.me: client.advertise() for client in clients}, threshold)


def test_a_client_answers_once() -> None:
    clients, _ = introduced([CONTEXT] * 4, 3)
    clients[1].reveal([0, 1, 2], [3])
    with pytest.raises(Refused, match="client 1 refuses"):
        clients[1].reveal([0, 1, 3], [2])


def test_a_client_gives_seed_shares_of_the_living_and_key_shares_of_the_dead() -> None:
    clients, _ = introduced([CONTEXT] * 4, 3)
    answers = {me: clients[me].reveal([0, 1, 2], [3]) for me in (0, 1, 2)}
    for peer in range(4):
        shares = np.stack([[answers[me][peer]] for me in (0, 1, 2)]).astype(np.int64)
        secret = clients[3]._masks.secret if peer == 3 else clients[peer]._seed
        assert join([1, 2, 3], shares) == [secret]


def _touch(boxes: Inboxes) -> bytes:
    return boxes[1][0][:-1] + bytes([boxes[1][0][-1] ^ 1])


def _cut(boxes: Inboxes) -> bytes:
    return boxes[1][0][:-8]


def _swap(boxes: Inboxes) -> bytes:
    return boxes[1][2]


def _misdirect(boxes: Inboxes) -> bytes:
    return boxes[2][0]


def _reflect(boxes: Inboxes) -> bytes:
    """What client 1 wrote to client 0; both directions share one key."""
    return boxes[0][1]


def _replay(boxes: Inboxes) -> bytes:
    """What client 0 wrote in an earlier exchange."""
    return introduced([CONTEXT] * 3, 2)[1][1][0]


@pytest.mark.parametrize("tamper", [_touch, _cut, _swap, _misdirect, _reflect, _replay])
def test_a_letter_that_was_tampered_with_is_refused(tamper: Callable[[Inboxes], bytes]) -> None:
    clients, inboxes = introduced([CONTEXT] * 3, 2)
    inboxes[1][0] = tamper(inboxes)
    clients[1].receive(inboxes[1])
    with pytest.raises(InvalidTag):
        clients[1].reveal([0, 1, 2], [])


def test_a_letter_of_another_round_is_refused() -> None:
    clients, _ = introduced([CONTEXT, CONTEXT, Context(b"round 2", b"model A")], 2)
    with pytest.raises(InvalidTag):
        clients[0].reveal([0, 1, 2], [])
