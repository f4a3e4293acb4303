"""Masks: each expanded once gives what every client would have sent, and it tells nothing."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chi2_contingency

from defenses.secure_aggregation import Client, Terms
from defenses.secure_aggregation.keys import KeyPair, Once, fresh_seed
from defenses.secure_aggregation.masks import BLOCK, add_masks, mask
from defenses.secure_aggregation.protocol import clients_of, masked_rows
from defenses.secure_aggregation.server import Server
from defenses.secure_aggregation.terms import Context, Generator
from tests.support.masked_clients import (
    CHANCE,
    CONTEXT,
    OTHER,
    exchanged,
    looks_random,
    ring_sum,
    words_of,
)

GENERATORS: tuple[Generator, ...] = ("aes", "weak")


def met(
    contexts: list[Context], neighbours: int, generator: Generator = "aes", quorum: int = 4
) -> list[Client]:
    """Clients at the point of masking; all but the last have shared their secrets."""
    terms = Terms(len(contexts), 4, neighbours, quorum, generator=generator)
    clients, server = clients_of(terms, contexts, np.random.default_rng(0)), Server(7, terms)
    book = {client.me: client.advertise() for client in clients}
    beside = server.introduce(book, {client.me: client.chosen for client in clients})
    letters = {
        it.me: it.share(beside[it.me].holders, quorum, beside[it.me].owners) for it in clients[:-1]
    }
    for me, inbox in server.forward(letters).items():
        clients[me].receive(inbox, server.sharing(me))
    return clients[:-1]


@pytest.mark.parametrize("generator", GENERATORS)
@pytest.mark.parametrize("neighbours", [0, 4])
@pytest.mark.parametrize("contexts", [[CONTEXT] * 7, [OTHER, *[CONTEXT] * 6]], ids=["one", "two"])
@pytest.mark.parametrize("length", [1, 1003, 2 * BLOCK + 5])
def test_masks_expanded_once_give_what_each_client_sends(
    length: int, contexts: list[Context], neighbours: int, generator: Generator
) -> None:
    quorum = 3 if neighbours else 4
    clients, words = met(contexts, neighbours, generator, quorum), words_of(0, 7, length)
    fast = masked_rows(clients, words)
    assert np.array_equal(fast, np.stack([it.masked(words[it.me]) for it in clients]))
    assert np.array_equal(masked_rows(clients[2:4], words), fast[2:4])


@pytest.mark.parametrize("generator", GENERATORS)
def test_a_mask_is_the_same_in_blocks_and_as_a_whole(generator: Generator) -> None:
    key, rows = fresh_seed(), np.zeros((1, 3 * BLOCK + 7), np.uint32)
    add_masks(rows, [[(key, 1)]], generator)
    assert np.array_equal(rows[0], mask(key, rows.shape[1], generator))
    assert looks_random(rows)
    add_masks(rows, [[(key, -1)]], generator)
    assert not rows.any()


@pytest.mark.parametrize("processors", [1, 2, 5])
def test_masks_do_not_depend_on_the_number_of_threads(
    processors: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: processors)
    strands = [[(bytes([row, other] * 16), 1) for other in range(3)] for row in range(2)]
    rows = np.zeros((2, 6 * BLOCK + 1), np.uint32)
    add_masks(rows, strands)
    whole = [ring_sum(np.stack([mask(key, rows.shape[1]) for key, _ in row])) for row in strands]
    assert np.array_equal(rows, np.stack(whole))


def test_the_key_of_a_pair_is_worked_out_once_and_is_that_of_either_end() -> None:
    once, one, other = Once(), KeyPair.fresh(), KeyPair.fresh()
    for purpose in (CONTEXT.masks, CONTEXT.letters):
        key = once(one, other.public, purpose)
        assert key == once(other, one.public, purpose) == one.agree(other.public, purpose)


# --- the lesson of the weak generator -------------------------------------------------------------


def test_the_weak_generator_cancels_just_as_well() -> None:
    words = words_of(1, 5, 100)
    exchange = exchanged(words, Terms(5, 3, generator="weak"), [2])
    assert np.array_equal(exchange.total, ring_sum(words[[0, 1, 3, 4]]))


def test_the_weak_mask_follows_from_four_bytes_and_the_sound_one_from_all() -> None:
    key = fresh_seed()
    folded = int(np.bitwise_xor.reduce(np.frombuffer(key, "<u4")))
    guess = folded.to_bytes(4, "little") + bytes(28)  # one of 2^32
    assert np.array_equal(mask(key, 50, "weak"), mask(guess, 50, "weak"))
    assert not (mask(key, 50) == mask(guess, 50)).any()


# --- what the server sees -------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [Terms(6, 4), Terms(6, 4, 4, quorum=3)], ids=["all", "four"])
def test_masked_rows_are_uniform_whatever_is_under_them(terms: Terms) -> None:
    words = np.zeros((6, 40_000), np.uint32)
    words[1] = 2**32 - 1
    for row in exchanged(words, terms).masked:
        assert looks_random(row)


def test_another_update_of_a_client_changes_all_that_is_seen_and_not_how_it_is_spread() -> None:
    words = words_of(2, 5, 40_000)
    words[3] = 7
    one = exchanged(words, Terms(5, 4, 2, 3)).masked
    words[3] = np.arange(40_000)
    other = exchanged(words, Terms(5, 4, 2, 3)).masked
    assert (one == other).mean() < 1e-4
    for before, after in zip(one, other, strict=True):
        counts = [np.bincount(row.view(np.uint8), minlength=256) for row in (before, after)]
        assert chi2_contingency(np.stack(counts)).pvalue > CHANCE
