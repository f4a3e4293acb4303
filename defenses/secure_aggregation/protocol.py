"""Secure aggregation with double masking. Bonawitz et al. 2017, eprint 2017/281, figure 4.

Honest-but-curious server; signatures and the consistency round against a lying one are not here.
The two ends are apart: `Client` holds secrets, `aggregate` moves only messages.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import numpy as np

from defenses.secure_aggregation import shamir
from defenses.secure_aggregation.keys import KEY_BYTES, KeyPair, fresh_seed, mask, seal, unseal

SHARE = np.dtype("<u4")  # a value of the field needs 17 bits
LIMBS = KEY_BYTES // shamir.LIMB.itemsize


class Refused(Exception):
    """A client was asked for something that would not be safe to answer."""


@dataclass(frozen=True)
class Advertised:
    """A client's two public keys."""

    letters: bytes
    masks: bytes


class Client:
    """One client's side of one round."""

    def __init__(self, me: int, context: bytes) -> None:
        self.me, self.context = me, context
        self._letters, self._masks = KeyPair.fresh(), KeyPair.fresh()
        self._seed = fresh_seed()
        self._peers: dict[int, Advertised] = {}
        self._threshold, self._revealed = 0, False

    def advertise(self) -> Advertised:
        return Advertised(self._letters.public, self._masks.public)

    def share(self, peers: dict[int, Advertised], threshold: int) -> dict[int, bytes]:
        """A sealed letter to each client, itself included: shares of its seed and mask key.

        The threshold holds for the whole round.  Raises Refused when one share would be enough.
        """
        if threshold < 2 or self.me not in peers:
            raise Refused(f"client {self.me} does not share its secrets with threshold {threshold}")
        self._peers, self._threshold = peers, threshold
        shares = shamir.split([self._seed, self._masks.secret], len(peers), threshold)
        letters = shares.astype(SHARE)  # (clients, 2, limbs)
        return {
            peer: seal(self._letter_key(peer), letters[at].tobytes(), self._address(self.me, peer))
            for at, peer in enumerate(sorted(peers))
        }

    def masked(self, words: np.ndarray) -> np.ndarray:
        """words (words,) uint32 -> the same under its own mask and one mask a peer"""
        total: np.ndarray = words + mask(self._seed, len(words))
        for peer in self._peers:
            if peer != self.me:
                pair = mask(self._mask_key(peer), len(words))
                total = total + pair if self.me < peer else total - pair
        return total

    def reveal(
        self, inbox: dict[int, bytes], alive: Collection[int], dead: Collection[int]
    ) -> dict[int, np.ndarray]:
        """One share of each peer: of the seed of the living, of the mask key of the dead.

        Raises Refused when a peer is listed as both, or not known, when this client is not among
        the living, when fewer than the threshold are, or when it has answered before.
        """
        living, gone = set(alive), set(dead)
        safe = not living & gone and living | gone <= set(self._peers) and self.me in living
        if self._revealed or not safe or len(living) < self._threshold:
            raise Refused(f"client {self.me} refuses to unmask: it would not be safe to answer")
        self._revealed = True
        answer = {}
        for peer in sorted(living | gone):
            letter = unseal(self._letter_key(peer), inbox[peer], self._address(peer, self.me))
            seed_and_key = np.frombuffer(letter, SHARE).reshape(2, LIMBS)
            answer[peer] = seed_and_key[0 if peer in living else 1]
        return answer

    def _letter_key(self, peer: int) -> bytes:
        return self._letters.agree(self._peers[peer].letters, b"letter|" + self.context)

    def _mask_key(self, peer: int) -> bytes:
        return self._masks.agree(self._peers[peer].masks, mask_purpose(self.context))

    def _address(self, sender: int, receiver: int) -> bytes:
        return f"{sender}>{receiver}|".encode() + self.context


def mask_purpose(context: bytes) -> bytes:
    return b"mask|" + context


@dataclass(frozen=True)
class Exchange:
    """What the server saw and learnt, and what it cost."""

    masked: np.ndarray  # (alive, words) uint32
    total: np.ndarray | None  # (words,) uint32, the sum of the words of those alive; None: aborted
    bytes_up: int
    bytes_down: int


def aggregate(words: np.ndarray, lost: Collection[int], threshold: int, context: bytes) -> Exchange:
    """Run one round; clients in `lost` fall silent after they have shared their keys.

    words (clients, words) uint32.  Below the threshold nobody unmasks, and there is no total.
    """
    everyone = range(len(words))
    clients = [Client(me, context) for me in everyone]
    book = {client.me: client.advertise() for client in clients}
    letters = {client.me: client.share(book, threshold) for client in clients}
    alive, dead = [me for me in everyone if me not in lost], sorted(lost)
    masked = np.zeros((len(alive), words.shape[1]), np.uint32)  # (alive, words)
    for row, me in zip(masked, alive, strict=True):
        row[:] = clients[me].masked(words[me])
    up = 2 * KEY_BYTES * len(words) + _size(letters.values()) + masked.nbytes
    down = 2 * KEY_BYTES * len(words) ** 2 + _size(letters.values())
    if len(alive) < threshold:
        return Exchange(masked, None, up, down)
    inboxes = {me: {sender: letters[sender][me] for sender in everyone} for me in alive}
    answers = {me: clients[me].reveal(inboxes[me], alive, dead) for me in alive}

    total = masked.sum(axis=0, dtype=np.uint32)
    for seed in _recovered(answers, alive, threshold):
        total -= mask(seed, len(total))
    for gone, secret in zip(dead, _recovered(answers, dead, threshold), strict=True):
        total -= _orphaned(gone, KeyPair.of(secret), book, alive, context, len(total))
    answered = sum(share.nbytes for answer in answers.values() for share in answer.values())
    return Exchange(masked, total, up + answered, down)


def _size(boxes: Iterable[dict[int, bytes]]) -> int:
    return sum(len(letter) for box in boxes for letter in box.values())


def _recovered(
    answers: dict[int, dict[int, np.ndarray]], peers: list[int], threshold: int
) -> list[bytes]:
    """The secrets of `peers`, out of the first `threshold` answers."""
    if not peers:
        return []
    chosen = sorted(answers)[:threshold]
    shares = np.stack([[answers[me][peer] for peer in peers] for me in chosen])
    return shamir.join([me + 1 for me in chosen], shares.astype(np.int64))


def _orphaned(
    gone: int,
    pair: KeyPair,
    book: dict[int, Advertised],
    alive: list[int],
    context: bytes,
    words: int,
) -> np.ndarray:
    """The masks that the living added for a client who then fell silent.  -> (words,)"""
    left = np.zeros(words, np.uint32)
    for me in alive:
        shared = mask(pair.agree(book[me].masks, mask_purpose(context)), words)
        left = left + shared if me < gone else left - shared
    return left
