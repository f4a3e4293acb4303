"""One client's side of a round: it holds the secrets and answers only safe requests.

Bonawitz et al. 2017, eprint 2017/281, figure 4; with self-chosen neighbours in place of all
clients,
Bell et al. 2020, eprint 2020/704 (`graph.py`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from defenses.secure_aggregation import shamir
from defenses.secure_aggregation.checks import Refused, check_neighbours, check_survivors
from defenses.secure_aggregation.graph import choice
from defenses.secure_aggregation.keys import KEY_BYTES, Agree, KeyPair, fresh_seed, seal, unseal
from defenses.secure_aggregation.masks import Strand, mask
from defenses.secure_aggregation.signatures import Identity, list_of
from defenses.secure_aggregation.terms import FEWEST, Context, Terms

SHARE = np.dtype("<u4")  # a value of the field needs 17 bits
LIMBS = KEY_BYTES // shamir.LIMB.itemsize


@dataclass(frozen=True)
class Advertised:
    """A client's two public keys, signed where signatures are in use."""

    letters: bytes
    masks: bytes
    signature: bytes = b""

    def claim(self, session: bytes, whose: int) -> bytes:
        """Return the message that the signature signs."""
        return b"keys|" + session + f"|{whose}|".encode() + self.letters + self.masks


class Client:
    """A client.  Call its methods in order: advertise, share, receive, masked, (affirm,) reveal."""

    def __init__(
        self,
        me: int,
        context: Context,
        terms: Terms,
        *,
        chosen: Collection[int] | None = None,
        identity: Identity | None = None,
        agree: Agree = KeyPair.agree,
    ) -> None:
        """terms: public; chosen: its neighbours, drawn by its own coin; None: it draws them now"""
        self.me, self.context, self.terms = me, context, terms
        drawn = choice(me, terms, np.random.default_rng()) if chosen is None else chosen
        self.chosen = tuple(drawn)
        self._identity, self._agree = identity, agree
        self._letters, self._masks = KeyPair.fresh(), KeyPair.fresh()
        self._seed = fresh_seed()
        self._own_key = fresh_seed()  # of its letter to itself
        self._peers: Mapping[int, Advertised] = {}
        self._holders: frozenset[int] = frozenset()
        self._owners: frozenset[int] = frozenset()
        self._partners: tuple[int, ...] = ()
        self._inbox: Mapping[int, bytes] = {}
        self._affirmed: frozenset[int] | None = None
        self._threshold, self._revealed = 0, False

    def advertise(self) -> Advertised:
        bare = Advertised(self._letters.public, self._masks.public)
        if self._identity is None:
            return bare
        signature = self._identity.sign(bare.claim(self.context.session, self.me))
        return Advertised(bare.letters, bare.masks, signature)

    def share(
        self,
        holders: Mapping[int, Advertised],
        threshold: int,
        owners: Mapping[int, Advertised] | None = None,
    ) -> dict[int, bytes]:
        """Send each holder, itself included, a sealed letter with shares of its seed and mask key.

        holders: those of its choice who are there; owners: those who chose it; None: the same as
        holders.
        The threshold holds for the whole round.  Raises Refused when it is not more than half of
        the holders, when keys were exchanged or used twice, when a signature is bad, and when the
        terms of the round do not allow it.
        """
        peers = {**(owners or {}), **holders}
        if threshold < 2 or 2 * threshold <= len(holders) or threshold > len(holders):
            told = f"with threshold {threshold} of {len(holders)}"
            raise Refused(self.me, f"does not share its secrets {told}")
        self._check_keys(holders, peers)
        if self.terms.checks:
            check_neighbours(self.me, self.terms, self.chosen, holders, threshold)
        self._peers, self._threshold = peers, threshold
        self._holders = frozenset(holders)
        self._owners = self._holders if owners is None else frozenset(owners)
        shares = shamir.split([self._seed, self._masks.secret], len(holders), threshold)
        letters = shares.astype(SHARE)  # (holders, 2, limbs)
        return {
            peer: seal(self._letter_key(peer), letters[at].tobytes(), self._address(self.me, peer))
            for at, peer in enumerate(sorted(holders))
        }

    def receive(self, inbox: Mapping[int, bytes], there: Collection[int] = ()) -> None:
        """Take the letters of those who chose it; share masks with the neighbours that have shared.

        there: further neighbours, besides the senders of letters.  Raises Refused.
        """
        present = {*inbox, *there}
        if not (present <= set(self._peers) and self._owners >= set(inbox) and self.me in inbox):
            raise Refused(self.me, "knows other neighbours than letters came from")
        heard = len(present & self._holders)
        if heard < self._threshold:
            raise Refused(self.me, f"hears of {heard} of its neighbours, below the threshold")
        self._inbox = dict(inbox)
        self._partners = tuple(sorted(present - {self.me}))

    def keys(self) -> dict[int, bytes]:
        """Return the mask keys it shares, by neighbour: all that an accomplice could reveal."""
        return {peer: self._mask_key(peer) for peer in self._partners}

    def strands(self) -> list[Strand]:
        """Return keys and signs of the masks on its row: its own, and one for each neighbour."""
        pairs = [(key, 1 if self.me < peer else -1) for peer, key in self.keys().items()]
        return [(self._seed, 1), *pairs]

    def masked(self, words: np.ndarray) -> np.ndarray:
        """Add the masks.  words (words,) uint32 -> (words,) uint32"""
        total = words
        for key, sign in self.strands():
            one = mask(key, len(words), self.terms.generator)
            total = total + one if sign > 0 else total - one
        return total

    def affirm(self, alive: Collection[int]) -> bytes:
        """Sign the list of clients whose masked rows came.  Raises Refused.

        It signs one list a round, and answers only for that list.
        """
        if self._identity is None or self._affirmed is not None:
            raise Refused(self.me, "signs one list of survivors, and has done or cannot")
        if self.terms.checks:
            check_survivors(self.me, self.terms, alive)
        self._affirmed = frozenset(alive)
        return self._identity.sign(list_of(self.context.session, alive))

    def reveal(
        self,
        alive: Collection[int],
        dead: Collection[int],
        affirmed: Mapping[int, bytes] | None = None,
    ) -> dict[int, np.ndarray]:
        """Return one share for each owner: of a survivor's seed, or of a lost client's mask key.

        alive, dead: among its neighbours, itself included.  Raises Refused when one is listed as
        both,
        or not known, when this client is not among the living, when too few of its holders are,
        when it has answered before, or when too few of them have signed the same list; InvalidTag
        when a letter was touched.
        """
        living, gone = set(alive), set(dead)
        known = living | gone <= {self.me, *self._partners}
        fewest = max(self._threshold, FEWEST if self.terms.checks else 0)
        enough = self.me in living and len(living & self._holders) >= fewest
        if self._revealed or living & gone or not known or not enough:
            raise Refused(self.me, "refuses to unmask: it would not be safe to answer")
        if self._identity is not None:
            self._compare(living, gone, affirmed or {})
        self._revealed = True
        answer = {}
        for peer in sorted(set(self._inbox) & (living | gone)):
            letter = unseal(self._letter_key(peer), self._inbox[peer], self._address(peer, self.me))
            seed_and_key = np.frombuffer(letter, SHARE).reshape(2, LIMBS)
            answer[peer] = seed_and_key[0 if peer in living else 1]
        return answer

    def _check_keys(
        self, holders: Mapping[int, Advertised], peers: Mapping[int, Advertised]
    ) -> None:
        """Check that the holders' keys contain its own, do not repeat, and are all signed."""
        keys = [key for peer in peers.values() for key in (peer.letters, peer.masks)]
        mine = holders.get(self.me)
        own = (self._letters.public, self._masks.public)
        if mine is None or (mine.letters, mine.masks) != own or len(set(keys)) < len(keys):
            raise Refused(self.me, "does not trust a list with its own or equal keys wrong")
        for whose, peer in peers.items() if self._identity else ():
            claim = peer.claim(self.context.session, whose)
            if not self._identity or not self._identity.signed(whose, peer.signature, claim):
                raise Refused(self.me, f"finds no valid signature of client {whose}")

    def _compare(self, living: set[int], gone: set[int], affirmed: Mapping[int, bytes]) -> None:
        """Check consistency: enough of the neighbours it chose signed the same survivors."""
        assert self._identity is not None
        told = self._affirmed or frozenset()
        message = list_of(self.context.session, told)
        same = [
            who
            for who, signature in affirmed.items()
            if who in self._holders and self._identity.signed(who, signature, message)
        ]
        listed = living <= told and not gone & told
        if not listed or len(same) < self._threshold:
            raise Refused(self.me, "refuses to unmask: survivors were listed differently")

    def _letter_key(self, peer: int) -> bytes:
        if peer == self.me:
            return self._own_key
        return self._agree(self._letters, self._peers[peer].letters, self.context.letters)

    def _mask_key(self, peer: int) -> bytes:
        return self._agree(self._masks, self._peers[peer].masks, self.context.masks)

    def _address(self, sender: int, receiver: int) -> bytes:
        return f"{sender}>{receiver}|".encode() + self.context.session
