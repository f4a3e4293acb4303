"""A server that lies: about keys, about survivors, about the model.  Clients refuse, or it is told
noise.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from defenses.secure_aggregation import Client, Masked, Refused, Terms
from defenses.secure_aggregation.channel import contexts_of
from defenses.secure_aggregation.client import Advertised
from defenses.secure_aggregation.signatures import enrolled
from lab.interfaces.messages import Cohort
from tests.support.masked_clients import (
    CONTEXT,
    OTHER,
    WORDS,
    exchanged,
    introduced,
    looks_random,
    ring_sum,
    words_of,
)

FOUR = Terms(4, 3)  # four clients, and any three open a sum

# --- keys -----------------------------------------------------------------------------------------


def advertised(clients: int = 4) -> tuple[list[Client], dict[int, Advertised]]:
    identities = enrolled(range(clients))
    terms = Terms(clients, 3, signatures=True)
    made = [Client(me, CONTEXT, terms, identity=identities[me]) for me in range(clients)]
    return made, {client.me: client.advertise() for client in made}


def _swapped(book: dict[int, Advertised]) -> Advertised:
    """The server's own keys, under the signature that client 2 gave."""
    return replace(Client(2, CONTEXT, FOUR).advertise(), signature=book[2].signature)


def _unsigned(book: dict[int, Advertised]) -> Advertised:
    return replace(book[2], signature=b"")


def _touched(book: dict[int, Advertised]) -> Advertised:
    return replace(book[2], signature=bytes([book[2].signature[0] ^ 1]) + book[2].signature[1:])


def _of_another_round(book: dict[int, Advertised]) -> Advertised:
    """Signed by the right client, at another time."""
    clients, _ = advertised()
    signature = clients[2]._identity.sign(book[2].claim(b"round 0", 2))  # type: ignore[union-attr]
    return replace(book[2], signature=signature)


def _crossed(book: dict[int, Advertised]) -> Advertised:
    """Mask and letter keys changed places."""
    return replace(book[2], letters=book[2].masks, masks=book[2].letters)


@pytest.mark.parametrize("lie", [_swapped, _unsigned, _touched, _of_another_round, _crossed])
def test_keys_without_their_owners_signature_are_refused(lie: object) -> None:
    clients, book = advertised()
    clients[0].share(book, 3)
    book[2] = lie(book)  # type: ignore[operator]
    with pytest.raises(Refused, match="client 1 finds no valid signature of client 2"):
        clients[1].share(book, 3)


def test_a_stranger_is_refused_whatever_it_signs() -> None:
    clients, book = advertised()
    stranger = Client(9, CONTEXT, FOUR, identity=enrolled([9])[9])
    with pytest.raises(Refused, match="no valid signature of client 9"):
        clients[1].share(book | {9: stranger.advertise()}, 3)


def test_without_signatures_exchanged_keys_go_unseen() -> None:
    """Why they are there: a server in the middle reads every letter."""
    clients = [Client(me, CONTEXT, FOUR) for me in range(4)]
    book = {client.me: client.advertise() for client in clients}
    assert clients[1].share(book | {2: Client(2, CONTEXT, FOUR).advertise()}, 3)


@pytest.mark.parametrize("wrong", [1, 3])
def test_equal_keys_and_wrong_own_keys_are_refused(wrong: int) -> None:
    clients = [Client(me, CONTEXT, FOUR) for me in range(4)]
    book = {client.me: client.advertise() for client in clients}
    with pytest.raises(Refused, match="client 1 does not trust a list"):
        clients[1].share(book | {wrong: book[2]}, 3)


# --- letters --------------------------------------------------------------------------------------


def test_letters_of_strangers_and_too_few_letters_are_refused() -> None:
    clients, inboxes = introduced([CONTEXT] * 5, 3)
    with pytest.raises(Refused, match="client 1 knows other neighbours"):
        clients[1].receive(inboxes[1] | {9: b""})
    with pytest.raises(Refused, match="client 1 hears of 2 of its neighbours"):
        clients[1].receive({me: inboxes[1][me] for me in (0, 1)})


# --- survivors ------------------------------------------------------------------------------------


def test_a_client_who_is_shown_that_all_were_told_the_same_answers() -> None:
    clients, _ = introduced([CONTEXT] * 5, 3, signed=True)
    signatures = {me: clients[me].affirm([0, 1, 2, 3]) for me in range(4)}
    assert len(clients[1].reveal([0, 1, 2, 3], [4], signatures)) == 5


def test_a_client_alive_for_some_and_dead_for_others_is_given_away_by_the_lists() -> None:
    """The attack that the consistency check is for: both secrets of client 4."""
    clients, _ = introduced([CONTEXT] * 5, 3, signed=True)
    living, dead = [0, 1, 2, 3, 4], [0, 1, 2, 3]
    signatures = {me: clients[me].affirm(living if me < 2 else dead) for me in range(4)}
    with pytest.raises(Refused, match=r"client 0 refuses.*listed differently"):
        clients[0].reveal(living, [], signatures)
    few = {me: signature for me, signature in signatures.items() if me > 1}
    with pytest.raises(Refused, match=r"client 2 refuses.*listed differently"):
        clients[2].reveal(dead, [4], few)


@pytest.mark.parametrize("told", [([0, 1, 2, 3, 4], []), ([0, 1, 2], [3, 4])])
def test_a_client_answers_for_the_list_that_it_has_signed(
    told: tuple[list[int], list[int]],
) -> None:
    clients, _ = introduced([CONTEXT] * 5, 3, signed=True)
    signatures = {me: clients[me].affirm([0, 1, 2, 3]) for me in range(4)}
    with pytest.raises(Refused, match="listed differently"):
        clients[1].reveal(*told, signatures)


def test_signatures_count_once_and_only_with_their_owners() -> None:
    clients, _ = introduced([CONTEXT] * 5, 3, signed=True)
    signatures = {me: clients[me].affirm(range(5)) for me in range(5)}
    forged = {0: signatures[0], 1: signatures[1], 2: signatures[1], 7: signatures[1]}
    with pytest.raises(Refused, match="listed differently"):
        clients[1].reveal(range(5), [], forged)


def test_signatures_of_clients_who_are_no_neighbours_do_not_count() -> None:
    identities, terms = enrolled(range(8)), Terms(8, 5, neighbours=3, quorum=3)
    clients = [
        Client(me, CONTEXT, terms, chosen={0, 1, 2, 3} - {me}, identity=identities[me])
        for me in range(4)
    ]
    book = {client.me: client.advertise() for client in clients}
    letters = {client.me: client.share(book, 3) for client in clients}
    clients[0].receive({sender: letters[sender][0] for sender in book})
    alive = range(8)
    strangers = [Client(me, CONTEXT, terms, identity=identities[me]) for me in range(4, 8)]
    signatures = {each.me: each.affirm(alive) for each in (clients[0], *strangers)}
    with pytest.raises(Refused, match="listed differently"):
        clients[0].reveal(range(4), [], signatures)


def test_a_client_signs_one_list() -> None:
    clients, _ = introduced([CONTEXT] * 4, 3, signed=True)
    clients[0].affirm([0, 1, 2])
    with pytest.raises(Refused, match="signs one list"):
        clients[0].affirm([0, 1, 3])
    with pytest.raises(Refused, match="signs one list"):
        introduced([CONTEXT] * 4, 3)[0][0].affirm([0, 1, 2])


def test_without_signed_lists_a_client_that_has_an_identity_does_not_answer() -> None:
    clients, _ = introduced([CONTEXT] * 4, 3, signed=True)
    with pytest.raises(Refused, match="listed differently"):
        clients[0].reveal(range(4), [])


@pytest.mark.parametrize("terms", [Terms(7, 5), Terms(7, 5, 4, quorum=3)], ids=["all", "four"])
def test_signatures_change_bytes_and_no_sum(terms: Terms) -> None:
    words = words_of(0, 7)
    bare, signed = (
        exchanged(words, each, {2: "unmasking"}, draw=np.random.default_rng(0))
        for each in (terms, replace(terms, signatures=True))
    )
    assert np.array_equal(signed.total, bare.total)
    assert signed.bytes_up == bare.bytes_up + 64 * (7 + 6)
    assert signed.bytes_down > bare.bytes_down


# --- models ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("terms", [Terms(6, 4), Terms(6, 4, 3, quorum=3)], ids=["all", "three"])
def test_the_sum_over_different_models_is_noise(terms: Terms) -> None:
    """The round goes through, dropouts and all, and the server gets words that say nothing."""
    words = np.full((6, WORDS), 3, np.uint32)
    exchange = exchanged(words, terms, contexts=[OTHER, *[CONTEXT] * 5])
    assert exchange.total is not None
    assert looks_random(exchange.total)


def test_a_client_alone_with_its_model_spoils_only_sums_that_it_is_in() -> None:
    words = np.full((6, WORDS), 3, np.uint32)
    exchange = exchanged(words, 4, [0], contexts=[OTHER, *[CONTEXT] * 5])
    assert np.array_equal(exchange.total, ring_sum(words[1:]))


def targeted(models: torch.Tensor | None) -> Cohort:
    return Cohort(
        seed=0,
        round=1,
        clients=tuple(range(6)),
        weights=torch.ones(6),
        malicious=torch.zeros(6, dtype=torch.bool),
        lost=torch.zeros(6, dtype=torch.bool),
        expected=6.0,
        sent=models,
    )


def test_unbound_masks_leak_the_update_of_one_who_was_sent_another_model() -> None:
    """Pasquini et al. 2022: all others were sent a model whose gradients are zero."""
    rows = torch.zeros(6, 500)
    rows[2] = torch.randn(500, generator=torch.Generator().manual_seed(0))
    models = torch.zeros(6, 500)
    models[2] = 1.0
    open_ = Masked(binding=False)(rows, targeted(models), torch.zeros(500))
    bound = Masked(binding=True)(rows, targeted(models), torch.zeros(500))
    assert torch.allclose(open_.rows[0] * 6, rows[2], atol=1e-6)
    correlation = torch.corrcoef(torch.stack([bound.rows[0], rows[2]]))[0, 1]
    assert abs(correlation) < 0.3  # six deviations of chance


def test_equal_models_are_bound_alike_whoever_holds_the_copy() -> None:
    sent = torch.arange(5.0)
    copies = contexts_of(targeted(sent.repeat(6, 1)), torch.zeros(5))
    assert copies == contexts_of(targeted(None), sent)
    assert len(set(contexts_of(targeted(torch.arange(30.0).view(6, 5)), sent))) == 6
    assert len({*contexts_of(targeted(None), sent), *contexts_of(targeted(None), -sent)}) == 2
    assert contexts_of(targeted(None), sent, False) == contexts_of(targeted(None), -sent, False)
