"""What tests of secure aggregation share: words, clients who met, and what looks random."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from hypothesis import strategies as st
from scipy.stats import chisquare

from defenses.secure_aggregation import Client, Context, Exchange, Terms, aggregate
from defenses.secure_aggregation.signatures import enrolled
from defenses.secure_aggregation.terms import Stage

SEEDS = st.integers(0, 10**6)
CHANCE = 1e-7  # keys are truly random here, so a test of randomness fails once in ten million
WORDS = 40_000
CONTEXT = Context(b"round 1", b"model A")
OTHER = Context(b"round 1", b"model B")


class Loaded:
    """A coin under which client after client chooses as it is told."""

    def __init__(self, choices: Sequence[Sequence[int]]) -> None:
        self.left = list(enumerate(choices))

    @classmethod
    def ring(cls, clients: int, reach: int = 1) -> np.random.Generator:
        """Everybody chooses those beside it, so many on either side."""
        steps = [*range(-reach, 0), *range(1, reach + 1)]
        found = cls([[(me + step) % clients for step in steps] for me in range(clients)])
        return cast(np.random.Generator, found)

    def choice(self, count: int, size: int, replace: bool) -> np.ndarray:
        me, chosen = self.left.pop(0)
        assert len(chosen) == size <= count
        assert not replace
        return np.array([peer - (peer > me) for peer in chosen])


Inboxes = dict[int, dict[int, bytes]]


def words_of(seed: int, clients: int, words: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 2**32, (clients, words), dtype=np.uint32)


def ring_sum(words: np.ndarray) -> np.ndarray:
    return words.sum(axis=0, dtype=np.uint32)


def looks_random(words: np.ndarray) -> bool:
    """Whether each of the four bytes of the words passes a chi-square test of uniformity."""
    columns = words.astype("<u4").view(np.uint8).reshape(-1, 4).T
    counts = [np.bincount(column, minlength=256) for column in columns]
    return min(chisquare(count).pvalue for count in counts) > CHANCE


def exchanged(
    words: np.ndarray,
    terms: Terms | int,
    silent: Mapping[int, Stage] | Sequence[int] = (),
    contexts: Sequence[Context] | None = None,
    draw: np.random.Generator | None = None,
) -> Exchange:
    """A round under terms, or a threshold; those only listed as silent send no masked input."""
    terms = Terms(len(words), terms) if isinstance(terms, int) else terms
    fates = silent if isinstance(silent, Mapping) else dict.fromkeys(silent, "input")
    return aggregate(words, terms, contexts or [CONTEXT] * len(words), fates, draw)


def introduced(
    contexts: Sequence[Context], threshold: int, signed: bool = False
) -> tuple[list[Client], Inboxes]:
    """Clients who know each other's public keys, and the letters that each one received."""
    identities = enrolled(range(len(contexts))) if signed else {}
    terms = Terms(len(contexts), threshold, signatures=signed)
    clients = [
        Client(me, context, terms, identity=identities.get(me))
        for me, context in enumerate(contexts)
    ]
    book = {client.me: client.advertise() for client in clients}
    letters = {client.me: client.share(book, threshold) for client in clients}
    inboxes = {me: {sender: letters[sender][me] for sender in book} for me in book}
    for client in clients:
        client.receive(inboxes[client.me])
    return clients, inboxes
