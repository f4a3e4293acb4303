"""What real clients refuse a lying server (review B6): small sums, and neighbours of its choice.

Each lie is told to clients who check it, and to clients who do not: there it opens a row.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from defenses.secure_aggregation import Client, Masked, Refused, Terms
from defenses.secure_aggregation.client import Advertised
from defenses.secure_aggregation.graph import accomplices_needed
from defenses.secure_aggregation.keys import KeyPair
from defenses.secure_aggregation.masks import mask
from defenses.secure_aggregation.protocol import clients_of
from defenses.secure_aggregation.server import Server
from defenses.secure_aggregation.shamir import join
from defenses.secure_aggregation.signatures import enrolled, list_of
from tests.support.masked_clients import CONTEXT, words_of

TEN = Terms(10, 7, signatures=True)
Book = dict[int, Advertised]
Answers = dict[int, dict[int, np.ndarray]]


def lines(terms: Terms, clients: int) -> tuple[list[Client], Book]:
    """Clients who have advertised.  Only the first one, the victim, checks what it is told."""
    identities = enrolled(range(clients))
    made = [
        Client(me, CONTEXT, replace(terms, checks=terms.checks and not me), identity=identities[me])
        for me in range(clients)
    ]
    return made, {client.me: client.advertise() for client in made}


def shared(clients: list[Client], book: Book, threshold: int) -> None:
    """Those in the book are told of each other, and exchange letters."""
    letters = {me: clients[me].share(book, threshold) for me in book}
    for me in book:
        clients[me].receive({sender: letters[sender][me] for sender in book})


def opened(answers: Answers, owner: int, holders: Collection[int], needed: int) -> bytes:
    """The secret of an owner, from the first answers that suffice."""
    found = [(at + 1, peer) for at, peer in enumerate(holders) if owner in answers.get(peer, {})]
    shares = np.stack([answers[peer][owner] for _, peer in found[:needed]])
    return join([point for point, _ in found[:needed]], shares[:, None])[0]


# --- a small sum ----------------------------------------------------------------------------------


def test_two_clients_do_not_open_a_sum_of_two() -> None:
    """The first lie of the review: honest answers alone told each one's update to the other."""
    clients, book = lines(Terms(2, 2, signatures=True), 2)
    with pytest.raises(Refused, match="client 0 takes part in no sum of 2: 3 clients are the few"):
        clients[0].share(book, 2)


def test_two_of_ten_do_not_open_a_sum_of_two() -> None:
    clients, book = lines(TEN, 10)
    with pytest.raises(Refused, match="neighbourhood of 2, and 7 of 10 are the fewest"):
        clients[0].share({me: book[me] for me in (0, 1)}, 2)


def test_two_clients_who_check_nothing_open_a_sum_of_two() -> None:
    clients, book = lines(Terms(2, 2, signatures=True, checks=False), 2)
    shared(clients, book, 2)
    words = words_of(0, 2)
    total = clients[0].masked(words[0]) + clients[1].masked(words[1])
    affirmed = {client.me: client.affirm([0, 1]) for client in clients}
    answers = {client.me: client.reveal([0, 1], [], affirmed) for client in clients}
    for owner in (0, 1):
        total = total - mask(opened(answers, owner, [0, 1], 2), words.shape[1])
    assert np.array_equal(total, words[0] + words[1])


# --- a captured neighbourhood ---------------------------------------------------------------------


def captured(terms: Terms, accomplices: tuple[int, ...]) -> bool:
    """Whether the victim's row is read, when it hears of its accomplices as its neighbours."""
    clients, book = lines(terms, terms.clients)
    threshold = terms.seized(len(accomplices) + 1).threshold
    shared(clients, {me: book[me] for me in (0, *accomplices)}, threshold)
    words = words_of(0, 1)[0]
    row, alive = clients[0].masked(words), [0, *accomplices]
    affirmed = {me: clients[me].affirm(alive) for me in alive if terms.signatures}
    answers = {me: clients[me].reveal(alive, [], affirmed) for me in alive}
    row = row - mask(opened(answers, 0, alive, threshold), len(words))
    for one in accomplices:
        row = row - mask(clients[one].keys()[0], len(words))
    return np.array_equal(row, words)


@pytest.mark.parametrize("terms", [TEN, Terms(10, 7, 4, 4, signatures=True)], ids=["all", "four"])
def test_a_client_who_checks_nothing_is_read_by_two_accomplices_of_ten(terms: Terms) -> None:
    assert captured(replace(terms, checks=False), (1, 2))


def test_a_client_who_takes_everybody_refuses_two_neighbours_of_ten() -> None:
    """The second lie of the review."""
    with pytest.raises(Refused, match="client 0 was told of a neighbourhood of 3, and 7 of 10"):
        captured(TEN, (1, 2))


def test_a_client_refuses_neighbours_that_it_did_not_choose() -> None:
    terms = Terms(10, 7, 4, 4, signatures=True)
    clients, book = lines(terms, 10)
    strangers = [me for me in range(1, 10) if me not in clients[0].chosen][:3]
    with pytest.raises(Refused, match="client 0 was told of 3 neighbours that it did not choose"):
        clients[0].share({me: book[me] for me in (0, *strangers)}, 4)


def test_a_client_refuses_when_too_few_of_its_choice_are_there() -> None:
    clients, book = lines(Terms(10, 7, 4, 4, signatures=True), 10)
    few = clients[0].chosen[:2]
    with pytest.raises(Refused, match="neighbourhood of 3, and 4 of 5 are the fewest"):
        clients[0].share({me: book[me] for me in (0, *few)}, 3)


def test_a_client_refuses_more_neighbours_than_take_part() -> None:
    """Of more, the threshold is a smaller share."""
    clients, book = lines(TEN, 13)
    with pytest.raises(Refused, match="told of 3 neighbours that were not announced"):
        clients[0].share(book, 7)


def test_a_client_refuses_a_threshold_below_the_announced_one() -> None:
    clients, book = lines(TEN, 10)
    with pytest.raises(Refused, match="with threshold 6 of 10: 7 of 10 were announced"):
        clients[0].share(book, 6)
    assert len(clients[0].share(book, 7)) == 10


def test_clients_know_the_terms_of_the_experiment() -> None:
    """The share that was set, more than half, and three at least."""
    terms = Masked(threshold=0.8, neighbours=6).terms(20)
    assert (terms.clients, terms.threshold, terms.holders, terms.shares_needed) == (20, 16, 7, 6)
    small = Masked(threshold=0.51, neighbours=2).terms(20)
    assert (small.threshold, small.shares_needed) == (11, 3)


# --- survivors ------------------------------------------------------------------------------------


@pytest.mark.parametrize("alive", [range(6), [1, 2, 3, 4, 5, 6, 7], [0, 0, 1, 2, 3, 4, 5]])
def test_a_client_signs_no_list_that_is_too_short_or_leaves_it_out(alive: list[int]) -> None:
    clients, book = lines(TEN, 10)
    shared(clients, book, 7)
    with pytest.raises(Refused, match=r"client 0 signs no list of . survivors"):
        clients[0].affirm(alive)


def test_a_client_unmasks_no_sum_of_two_whatever_threshold_it_was_told() -> None:
    for checks in (True, False):
        terms = Terms(3, 2, checks=checks)
        clients = [Client(me, CONTEXT, terms) for me in range(3)]
        shared(clients, {client.me: client.advertise() for client in clients}, 2)
        if not checks:
            assert clients[0].reveal([0, 1], [2])
            continue
        with pytest.raises(Refused, match="would not be safe"):
            clients[0].reveal([0, 1], [2])


# --- what checks do not help against --------------------------------------------------------------


def stories(terms: Terms, accomplices: int) -> bool:
    """Whether both secrets of client 0 open, when half of the others hear that it was lost."""
    identities = enrolled(range(terms.clients))
    clients = [Client(me, CONTEXT, terms, identity=identities[me]) for me in range(terms.clients)]
    shared(clients, {client.me: client.advertise() for client in clients}, terms.threshold)
    honest = list(range(terms.clients - accomplices))
    cut = terms.threshold - accomplices
    alive, gone = list(range(terms.clients)), list(range(1, terms.clients))
    leagued = list(range(terms.clients - accomplices, terms.clients))
    seeds, keys = 0, 0
    for group, told, dead in ((honest[:cut], alive, []), (honest[cut:], gone, [0])):
        signed = {me: clients[me].affirm(told) for me in group}
        signed |= {me: identities[me].sign(list_of(CONTEXT.session, told)) for me in leagued}
        for me in group:
            try:
                clients[me].reveal(told, dead, signed)
            except Refused:
                continue
            seeds, keys = seeds + (not dead), keys + bool(dead)
    return min(seeds, keys) + accomplices >= terms.threshold


def test_two_stories_open_a_client_as_soon_as_there_are_accomplices_enough() -> None:
    """Signed lists do not help: accomplices sign either."""
    terms = Terms(9, 6, signatures=True)
    assert accomplices_needed(terms) == 3
    assert [stories(terms, count) for count in (2, 3)] == [False, True]


def told_apart(signatures: bool) -> tuple[Answers, list[Client], Server]:
    """Everybody hears that all who share masks with client 0 are lost, and that it lives.

    The server has no accomplice.
    """
    terms = Terms(60, 41, neighbours=6, quorum=5, signatures=signatures)
    clients = clients_of(terms, [CONTEXT] * 60, np.random.default_rng(0))
    server = Server(60, terms)
    book = {client.me: client.advertise() for client in clients}
    beside = server.introduce(book, {client.me: client.chosen for client in clients})
    letters = {it.me: it.share(beside[it.me].holders, 5, beside[it.me].owners) for it in clients}
    for me, inbox in server.forward(letters).items():
        clients[me].receive(inbox, server.sharing(me))
    partners = {*server.sharing(0)} - {0}
    told = {me: {*range(60)} - (partners - {me}) for me in range(1, 60)}
    signed = {me: clients[me].affirm(told[me]) for me in told if signatures}
    lists = server.circulate(signed) if signatures else {}
    answers: Answers = {}
    for me, alive in told.items():
        around = {*server.sharing(me)}
        with suppress(Refused):
            answers[me] = clients[me].reveal(around & alive, around - alive, lists.get(me))
    return answers, clients, server


def test_without_signatures_stories_open_a_client_among_few_neighbours() -> None:
    """No accomplice is needed: each neighbourhood hears a story of its own of who was lost."""
    answers, clients, server = told_apart(signatures=False)
    words = words_of(0, 1)[0]
    row = clients[0].masked(words)
    row = row - mask(opened(answers, 0, server.graph.holders[0], 5), len(words))
    for one in server.sharing(0)[1:]:
        others = {me: answer for me, answer in answers.items() if me != one}
        pair = KeyPair.of(opened(others, one, server.graph.holders[one], 5))
        row = row - mask(pair.agree(clients[0].advertise().masks, CONTEXT.masks), len(words))
    assert np.array_equal(row, words)


def test_signed_lists_give_such_stories_away() -> None:
    answers, _, server = told_apart(signatures=True)
    assert sum(0 in answers.get(me, {}) for me in server.graph.holders[0]) < 5
