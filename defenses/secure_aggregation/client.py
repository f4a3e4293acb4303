"""One client's side of a round: it holds the secrets and answers only what is safe.

Bonawitz et al. 2017, eprint 2017/281, figure 4; with neighbours in place of everybody, Bell et al.
2020, eprint 2020/704, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from defenses.secure_aggregation import shamir
from defenses.secure_aggregation.keys import KEY_BYTES, Agree, KeyPair, fresh_seed, seal, unseal
from defenses.secure_aggregation.masks import Strand, mask
from defenses.secure_aggregation.signatures import Identity, list_of
from defenses.secure_aggregation.terms import Context, Generator

SHARE = np.dtype("<u4")  # a value of the field needs 17 bits
LIMBS = KEY_BYTES // shamir.LIMB.itemsize


class Refused(Exception):
    """A client was asked for something that would not be safe to answer."""


@dataclass(frozen=True)
class Advertised:
    """A client's two public keys, signed where signatures are in use."""

    letters: bytes
    masks: bytes
    signature: bytes = b""

    def claim(self, session: bytes, whose: int) -> bytes:
        """What the signature is for."""
        return b"keys|" + session + f"|{whose}|".encode() + self.letters + self.masks


class Client:
    """Asked in this order: advertise, share, receive, masked, (affirm,) reveal."""

    def __init__(
        self,
        me: int,
        context: Context,
        *,
        generator: Generator = "aes",
        identity: Identity | None = None,
        agree: Agree = KeyPair.agree,
    ) -> None:
        self.me, self.context, self.generator = me, context, generator
        self._identity, self._agree = identity, agree
        self._letters, self._masks = KeyPair.fresh(), KeyPair.fresh()
        self._seed = fresh_seed()
        self._peers: Mapping[int, Advertised] = {}
        self._inbox: Mapping[int, bytes] = {}
        self._affirmed: frozenset[int] | None = None
        self._threshold, self._revealed = 0, False

    def advertise(self) -> Advertised:
        bare = Advertised(self._letters.public, self._masks.public)
        if self._identity is None:
            return bare
        signature = self._identity.sign(bare.claim(self.context.session, self.me))
        return Advertised(bare.letters, bare.masks, signature)

    def share(self, peers: Mapping[int, Advertised], threshold: int) -> dict[int, bytes]:
        """A sealed letter to each neighbour, itself included: shares of its seed and mask key.

        The threshold holds for the whole round.  Raises Refused when it is not more than half of
        the neighbours, when keys were exchanged or used twice, and when a signature is bad.
        """
        if threshold < 2 or 2 * threshold <= len(peers) or threshold > len(peers):
            told = f"with threshold {threshold} of {len(peers)}"
            raise Refused(f"client {self.me} does not share its secrets {told}")
        keys = [key for peer in peers.values() for key in (peer.letters, peer.masks)]
        mine = peers.get(self.me)
        own = (self._letters.public, self._masks.public)
        if mine is None or (mine.letters, mine.masks) != own or len(set(keys)) < len(keys):
            raise Refused(
                f"client {self.me} does not trust a list with its own or equal keys wrong"
            )
        for whose, peer in peers.items() if self._identity else ():
            claim = peer.claim(self.context.session, whose)
            if not self._identity or not self._identity.signed(whose, peer.signature, claim):
                raise Refused(f"client {self.me} finds no valid signature of client {whose}")
        self._peers, self._threshold = dict(peers), threshold
        shares = shamir.split([self._seed, self._masks.secret], len(peers), threshold)
        letters = shares.astype(SHARE)  # (neighbours, 2, limbs)
        return {
            peer: seal(self._letter_key(peer), letters[at].tobytes(), self._address(self.me, peer))
            for at, peer in enumerate(sorted(peers))
        }

    def receive(self, inbox: Mapping[int, bytes]) -> None:
        """Letters of the neighbours who shared; it masks with those.  Raises Refused."""
        if not set(inbox) <= set(self._peers) or self.me not in inbox:
            raise Refused(f"client {self.me} knows other neighbours than letters came from")
        if len(inbox) < self._threshold:
            raise Refused(f"client {self.me} got letters of {len(inbox)}, below the threshold")
        self._inbox = dict(inbox)

    def keys(self) -> dict[int, bytes]:
        """Of the masks that it shares, by neighbour: all that it could tell a server of them."""
        return {peer: self._mask_key(peer) for peer in self._inbox if peer != self.me}

    def strands(self) -> list[Strand]:
        """Keys of the masks on its row and their signs: its own, and one a neighbour."""
        pairs = [(key, 1 if self.me < peer else -1) for peer, key in self.keys().items()]
        return [(self._seed, 1), *pairs]

    def masked(self, words: np.ndarray) -> np.ndarray:
        """words (words,) uint32 -> the same under its masks"""
        total = words
        for key, sign in self.strands():
            one = mask(key, len(words), self.generator)
            total = total + one if sign > 0 else total - one
        return total

    def affirm(self, alive: Collection[int]) -> bytes:
        """Its signature under the list of those whose masked rows came.  Raises Refused.

        It signs one list a round, and answers for no other.
        """
        if self._identity is None or self._affirmed is not None:
            raise Refused(f"client {self.me} signs one list of survivors, and has done or cannot")
        self._affirmed = frozenset(alive)
        return self._identity.sign(list_of(self.context.session, alive))

    def reveal(
        self,
        alive: Collection[int],
        dead: Collection[int],
        affirmed: Mapping[int, bytes] | None = None,
    ) -> dict[int, np.ndarray]:
        """One share of each neighbour: of the seed of the living, of the mask key of the dead.

        Raises Refused when a peer is listed as both, or not known, when this client is not among
        the living, when fewer than the threshold are, when it has answered before, or when too
        few neighbours have signed the same list; InvalidTag when a letter was touched.
        """
        living, gone = set(alive), set(dead)
        safe = not living & gone and living | gone <= set(self._inbox) and self.me in living
        if self._revealed or not safe or len(living) < self._threshold:
            raise Refused(f"client {self.me} refuses to unmask: it would not be safe to answer")
        if self._identity is not None:
            self._compare(living, gone, affirmed or {})
        self._revealed = True
        answer = {}
        for peer in sorted(living | gone):
            letter = unseal(self._letter_key(peer), self._inbox[peer], self._address(peer, self.me))
            seed_and_key = np.frombuffer(letter, SHARE).reshape(2, LIMBS)
            answer[peer] = seed_and_key[0 if peer in living else 1]
        return answer

    def _compare(self, living: set[int], gone: set[int], affirmed: Mapping[int, bytes]) -> None:
        """The consistency check: enough neighbours were told of the same survivors."""
        assert self._identity is not None
        told = self._affirmed or frozenset()
        message = list_of(self.context.session, told)
        same = [
            who
            for who, signature in affirmed.items()
            if who in self._peers and self._identity.signed(who, signature, message)
        ]
        listed = living <= told and not gone & told
        if not listed or len(same) < self._threshold:
            raise Refused(f"client {self.me} refuses to unmask: survivors were listed differently")

    def _letter_key(self, peer: int) -> bytes:
        return self._agree(self._letters, self._peers[peer].letters, self.context.letters)

    def _mask_key(self, peer: int) -> bytes:
        return self._agree(self._masks, self._peers[peer].masks, self.context.masks)

    def _address(self, sender: int, receiver: int) -> bytes:
        return f"{sender}>{receiver}|".encode() + self.context.session
