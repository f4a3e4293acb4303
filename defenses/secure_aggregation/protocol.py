"""Secure aggregation with double masking: all clients and the server of a round, in one process.

Bonawitz et al. 2017, eprint 2017/281, figure 4; Bell et al. 2020, eprint 2020/704 where clients
have neighbours.  The two ends are apart: `Client` holds secrets, `Server` moves only messages.  The
lab plays both ends of every pair, so it derives each key and expands each mask only once.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from defenses.secure_aggregation.client import Client
from defenses.secure_aggregation.graph import choice
from defenses.secure_aggregation.keys import Agree, KeyPair, Once
from defenses.secure_aggregation.masks import add_masks
from defenses.secure_aggregation.server import Aborted, Answers, Server
from defenses.secure_aggregation.signatures import enrolled
from defenses.secure_aggregation.terms import Context, Stage, Terms

STAGES: tuple[Stage, ...] = ("keys", "shares", "input", "unmasking")


@dataclass(frozen=True)
class Exchange:
    """The server's knowledge after a round, and the cost in bytes."""

    masked: np.ndarray  # (alive, words) uint32
    alive: tuple[int, ...]  # whose masked rows came, in order
    total: np.ndarray | None  # (words,) uint32, the sum of the words of those alive; None: aborted
    bytes_up: int
    bytes_down: int
    aborted: str = ""  # why there is no total
    seeds: Mapping[int, bytes] = field(default_factory=dict)  # of self-masks, that the server knows
    keys: Mapping[tuple[int, int], bytes] = field(default_factory=dict)  # of shared masks, likewise
    partners: Mapping[int, list[int]] = field(default_factory=dict)  # who shares masks with whom
    holders: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # of whose shares


@dataclass(frozen=True)
class Scheme:
    """A malicious server's arrangements."""

    accomplices: Collection[int] = ()  # who tell it the keys of all masks that they share
    told: Terms | None = None  # what clients take for the terms of the round; None: what it uses


HONEST = Scheme()


def aggregate(
    words: np.ndarray,
    terms: Terms,
    contexts: Sequence[Context],
    silent: Mapping[int, Stage] | None = None,
    draw: np.random.Generator | None = None,
    scheme: Scheme = HONEST,
) -> Exchange:
    """Run one round.

    words (clients, words) uint32; terms: the server's; contexts: each client's, which may differ;
    silent:
    the stage from which each lost client is silent; draw: the clients' random generator for
    choosing
    neighbours.

    Below the thresholds nobody unmasks, and there is no total.  Raises Refused when an honest
    client refuses.
    """
    lab = _Lab(words, terms, contexts, silent or {}, scheme)
    try:
        total, why = lab.round(np.random.default_rng() if draw is None else draw), ""
    except Aborted as reason:
        total, why = None, str(reason)
    server = lab.server
    return Exchange(
        masked=lab.masked,
        alive=lab.alive,
        total=total,
        bytes_up=server.up,
        bytes_down=server.down,
        aborted=why,
        seeds=server.seeds,
        keys=server.orphans | lab.told(scheme.accomplices),
        partners={me: [one for one in server.sharing(me) if one != me] for me in lab.alive},
        holders={me: server.graph.holders[me] for me in lab.alive},
    )


def clients_of(
    terms: Terms,
    contexts: Sequence[Context],
    draw: np.random.Generator,
    agree: Agree = KeyPair.agree,
    accomplices: Collection[int] = (),
) -> list[Client]:
    """Create the clients of a round, with their neighbours.  Accomplices check nothing."""
    everyone = range(len(contexts))
    identities = enrolled(everyone) if terms.signatures else {}
    careless = replace(terms, checks=False)
    return [
        Client(
            me,
            contexts[me],
            careless if me in accomplices else terms,
            chosen=choice(me, terms, draw),
            identity=identities.get(me),
            agree=agree,
        )
        for me in everyone
    ]


class _Lab:
    """Clients and server of one round, and the server's knowledge so far."""

    def __init__(
        self,
        words: np.ndarray,
        terms: Terms,
        contexts: Sequence[Context],
        silent: Mapping[int, Stage],
        scheme: Scheme,
    ) -> None:
        self.words, self.terms, self.contexts, self.silent = words, terms, contexts, silent
        self.scheme, self.once = scheme, Once()
        self.clients: list[Client] = []
        self.server = Server(len(words), terms, self.once)
        self.masked = np.zeros((0, words.shape[1]), np.uint32)
        self.alive: tuple[int, ...] = ()

    def heard(self, stage: Stage) -> list[int]:
        """Return the clients that still answer at that stage."""
        first = STAGES.index(stage)
        never = len(STAGES)
        fates = ((me, self.silent.get(me)) for me in range(len(self.words)))
        return [me for me, fate in fates if (STAGES.index(fate) if fate else never) > first]

    def round(self, draw: np.random.Generator) -> np.ndarray:
        """Run all stages.  -> the sum (words,).  Raises Aborted."""
        told, leagued = self.scheme.told or self.terms, self.scheme.accomplices
        self.clients = clients_of(told, self.contexts, draw, self.once, leagued)
        server, clients, needed = self.server, self.clients, self.terms.shares_needed
        book = {me: clients[me].advertise() for me in self.heard("keys")}
        beside = server.introduce(book, {me: clients[me].chosen for me in book})
        letters = {
            me: clients[me].share(beside[me].holders, needed, beside[me].owners)
            for me in self.heard("shares")
        }
        for me, inbox in server.forward(letters).items():
            clients[me].receive(inbox, server.sharing(me))
        self.alive = tuple(self.heard("input"))
        self.masked = masked_rows([clients[me] for me in self.alive], self.words)
        server.collect(self.masked, self.alive)
        answers = self._answers(self.heard("unmasking"))
        return server.unmask(self.masked, self.alive, answers, self.contexts)

    def told(self, accomplices: Collection[int]) -> dict[tuple[int, int], bytes]:
        """Return the keys of the masks that accomplices share, by pair."""
        return {
            (min(me, peer), max(me, peer)): key
            for me in accomplices
            for peer, key in self.clients[me].keys().items()
        }

    def _answers(self, there: Collection[int]) -> Answers:
        """Collect the answers of clients that unmask, after they compare lists of survivors."""
        clients, affirmed = self.clients, {}
        if self.terms.signatures:
            signatures = {me: clients[me].affirm(self.alive) for me in there}
            affirmed = self.server.circulate(signatures)
        asks = {me: self.server.asks(me, self.alive) for me in there}
        return {me: clients[me].reveal(*asks[me], affirmed.get(me)) for me in there}


def masked_rows(clients: Sequence[Client], words: np.ndarray) -> np.ndarray:
    """Mask all rows as `Client.masked` does, but expand every mask once.  -> (clients, words)"""
    masked = words[[client.me for client in clients]]
    if clients:
        add_masks(masked, [client.strands() for client in clients], clients[0].terms.generator)
    return masked
