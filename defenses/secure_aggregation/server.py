"""The server's side of a round: it forwards messages, counts them, and unmasks the sum."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from defenses.secure_aggregation import shamir
from defenses.secure_aggregation.client import Advertised
from defenses.secure_aggregation.graph import Graph, connected, graph_of
from defenses.secure_aggregation.keys import Agree, KeyPair
from defenses.secure_aggregation.masks import Strand, add_masks
from defenses.secure_aggregation.signatures import SIGNATURE_BYTES
from defenses.secure_aggregation.terms import Context, Terms

CHOICE_BYTES = 4  # the number of a client that another one chose
Letters = Mapping[int, Mapping[int, bytes]]
Answers = Mapping[int, Mapping[int, np.ndarray]]


class Aborted(Exception):
    """Raised when a round is aborted and nothing is unmasked; the message says why."""


@dataclass(frozen=True)
class Neighbourhood:
    """The keys that a client receives: of the clients it chose, and of those who chose it."""

    holders: Mapping[int, Advertised]
    owners: Mapping[int, Advertised]


class Server:
    """An honest server; clients themselves refuse what a lying one could ask for (`checks.py`).

    Its methods are the stages in order; each raises Aborted when too few clients have answered.
    """

    def __init__(self, asked: int, terms: Terms, agree: Agree = KeyPair.agree) -> None:
        self.asked, self.terms, self._agree = asked, terms, agree
        self.up = self.down = 0  # bytes
        self.graph = Graph({}, {}, {})
        self.seeds: dict[int, bytes] = {}  # of the self-masks that it took off
        self.orphans: dict[tuple[int, int], bytes] = {}  # keys of those that the dead left behind
        self._book: Mapping[int, Advertised] = {}
        self._sharers: frozenset[int] = frozenset()

    def introduce(
        self, book: Mapping[int, Advertised], choices: Mapping[int, Collection[int]]
    ) -> dict[int, Neighbourhood]:
        """Take public keys and choices of neighbours; return each client's neighbourhood.

        Where the terms make all clients neighbours, choices do not count.
        """
        self.up += sum(_weight(each) for each in book.values())
        self.up += CHOICE_BYTES * sum(len(choices[me]) for me in book)
        self._need(len(book), "advertised their keys")
        chosen = {me: choices[me] for me in book}
        self._book, self.graph = book, graph_of(chosen, regular=self.terms.neighbours > 0)
        self._need_neighbours(book, "advertised their keys")
        found = {
            me: Neighbourhood(
                {peer: book[peer] for peer in self.graph.holders[me]},
                {peer: book[peer] for peer in self.graph.owners[me]},
            )
            for me in book
        }
        self.down += sum(_weight(book[peer]) for me in book for peer in self.graph.beside[me])
        return found

    def forward(self, letters: Letters) -> dict[int, dict[int, bytes]]:
        """Take the letters of those who shared; return the inbox of each."""
        self._sharers = frozenset(letters)
        self.up += _size(letters.values())
        self._need(len(letters), "shared their secrets")
        self._need_neighbours(self._sharers, "shared their secrets")
        inboxes = {
            me: {owner: letters[owner][me] for owner in self._sharing(self.graph.owners[me])}
            for me in sorted(self._sharers)
        }
        self.down += _size(inboxes.values())
        return inboxes

    def collect(self, masked: np.ndarray, alive: Collection[int]) -> None:
        """Take the masked rows (alive, words).  Raises Aborted where unmasking would be unsafe."""
        self.up += masked.nbytes
        self._need(len(alive), "answered")
        self._need_neighbours(alive, "answered")
        if not connected(self.graph.beside, alive):
            raise Aborted("those who answered share no masks with each other: parts would show")

    def circulate(self, signatures: Mapping[int, bytes]) -> dict[int, dict[int, bytes]]:
        """Take signed lists of survivors; return to each signer those of its chosen neighbours."""
        self.up += SIGNATURE_BYTES * len(signatures)
        self._need(len(signatures), "signed the list of survivors")
        self._need_neighbours(signatures, "signed the list of survivors")
        found = {
            me: {peer: signatures[peer] for peer in self.graph.holders[me] if peer in signatures}
            for me in signatures
        }
        self.down += _size(found.values())
        return found

    def asks(self, me: int, alive: Collection[int]) -> tuple[list[int], list[int]]:
        """List a client's surviving neighbours, and those who shared and then fell silent."""
        beside, here = self.sharing(me), set(alive)
        return [it for it in beside if it in here], [it for it in beside if it not in here]

    def unmask(
        self,
        masked: np.ndarray,
        alive: Sequence[int],
        answers: Answers,
        contexts: Sequence[Context],
    ) -> np.ndarray:
        """Unmask the sum of the survivors' words.  -> (words,)

        The contexts are public to it, because it knows which model it sent to whom.
        """
        self.up += sum(share.nbytes for answer in answers.values() for share in answer.values())
        self._need(len(answers), "helped to unmask")
        self._need_neighbours(answers, "helped to unmask", alive)
        dead = sorted(self._sharers.difference(alive))
        self.seeds = {me: self._secret(me, answers) for me in alive}
        strands: list[Strand] = [(seed, -1) for seed in self.seeds.values()]
        for gone in dead:
            beside = [peer for peer in self.graph.beside[gone] if peer in set(alive)]
            if beside:
                self._need_neighbours(answers, "helped to unmask", [gone])
                pair = KeyPair.of(self._secret(gone, answers))
                strands += [self._orphan(pair, gone, peer, contexts[peer]) for peer in beside]
        total: np.ndarray = masked.sum(axis=0, dtype=np.uint32)
        add_masks(total[None], [strands], self.terms.generator)
        return total

    def sharing(self, me: int) -> list[int]:
        """List the clients of a neighbourhood who have shared; they and the client share masks."""
        return self._sharing(self.graph.beside[me])

    def _sharing(self, some: Collection[int]) -> list[int]:
        return [one for one in some if one in self._sharers]

    def _secret(self, owner: int, answers: Answers) -> bytes:
        """Rebuild the owner's secret from the first answers of its holders that suffice."""
        holders = self.graph.holders[owner]
        found = [(at + 1, peer) for at, peer in enumerate(holders) if peer in answers]
        chosen = found[: self.terms.shares_needed]
        shares = np.stack([answers[peer][owner] for _, peer in chosen])  # (needed, limbs)
        return shamir.join([point for point, _ in chosen], shares[:, None])[0]

    def _orphan(self, pair: KeyPair, gone: int, peer: int, context: Context) -> Strand:
        """Return the mask that a survivor added for a neighbour who then fell silent."""
        key = self._agree(pair, self._book[peer].masks, context.masks)
        self.orphans[min(peer, gone), max(peer, gone)] = key
        return key, (-1 if peer < gone else 1)

    def _need(self, count: int, did: str) -> None:
        if count < self.terms.threshold:
            needed = self.terms.threshold
            raise Aborted(f"{count} of {self.asked} clients {did} and {needed} are needed")

    def _need_neighbours(
        self, there: Collection[int], did: str, of: Collection[int] | None = None
    ) -> None:
        """Raise Aborted unless each client has enough of its holders, itself included."""
        present, needed = set(there), self.terms.shares_needed
        for me in there if of is None else of:
            count = len(present.intersection(self.graph.holders[me]))
            if count < needed:
                around = f"{count} of {len(self.graph.holders[me])} in a neighbourhood"
                raise Aborted(f"{around} {did} and {needed} are needed")


def _weight(keys: Advertised) -> int:
    return len(keys.letters) + len(keys.masks) + len(keys.signature)


def _size(boxes: Iterable[Mapping[int, bytes]]) -> int:
    return sum(len(letter) for box in boxes for letter in box.values())
