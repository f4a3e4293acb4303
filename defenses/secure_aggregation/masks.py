"""Masks: AES-256 in counter mode expands a key to as many pseudo-random words as the update has.

Each key is expanded once, block by block.  A block is added to every row that it belongs to while
it
is in the processor's cache; each thread takes a range of words.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR

from defenses.secure_aggregation.terms import Generator
from lab.common.threads import run_in_threads

WORD = np.dtype("<u4")
BLOCK = 2**16  # words: large enough that threads do not wait for each other, 256 kB
CIPHER = 16  # bytes of a block of AES, of which the counter counts one each
ALIGNED = CIPHER // WORD.itemsize  # words: where a range begins, a block of AES begins
ZEROS = bytes(WORD.itemsize * BLOCK)

Strand = tuple[bytes, int]  # a key and 1 or -1: what a row carries of its mask
Fill = Callable[[np.ndarray], np.ndarray]  # a buffer -> the key's next words


def mask(key: bytes, words: int, generator: Generator = "aes") -> np.ndarray:
    """Expand the key to pseudo-random words.  -> (words,) uint32

    The counter starts at zero: every key is derived for one mask of one round, and used once.
    """
    if generator == "weak":
        return _weak(key).integers(0, 2**32, words, dtype=np.uint32)
    stream = _aes(key, 0).update(bytes(WORD.itemsize * words))
    return np.frombuffer(stream, WORD)


def add_masks(
    rows: np.ndarray, strands: Iterable[Iterable[Strand]], generator: Generator = "aes"
) -> None:
    """Add each row's masks to it, in place.  rows (rows, words) uint32

    A key on several rows, such as the two ends of a pair, is expanded once for all of them.
    """
    ends: dict[bytes, list[tuple[int, int]]] = {}
    for row, mine in enumerate(strands):
        for key, sign in mine:
            ends.setdefault(key, []).append((row, sign))

    def over(part: range) -> None:
        buffer = np.empty(WORD.itemsize * BLOCK + CIPHER, np.uint8)
        fills = [(_filler(key, part.start, generator), places) for key, places in ends.items()]
        for first in range(part.start, part.stop, BLOCK):
            block = rows[:, first : min(first + BLOCK, part.stop)]
            for fill, places in fills:
                words = fill(buffer[: WORD.itemsize * block.shape[1] + CIPHER])
                for row, sign in places:
                    (np.add if sign > 0 else np.subtract)(block[row], words, out=block[row])

    run_in_threads(over, _parts(rows.shape[1], 1 if generator == "weak" else os.cpu_count() or 1))


def _parts(words: int, most: int) -> list[range]:
    """Split the words into at most so many ranges of one length, none much shorter than a block."""
    parts = max(1, min(most, round(words / BLOCK)))
    size = ALIGNED * max(1, -(-words // (ALIGNED * parts)))
    return [range(first, min(first + size, words)) for first in range(0, words, size)]


def _filler(key: bytes, first: int, generator: Generator) -> Fill:
    """Return a function that fills buffers with a key's stream, from a word on."""
    if generator == "weak":
        weak = _weak(key)
        return lambda buffer: weak.integers(
            0, 2**32, (len(buffer) - CIPHER) // WORD.itemsize, dtype=np.uint32
        )
    encryptor = _aes(key, first * WORD.itemsize // CIPHER)

    def fill(buffer: np.ndarray) -> np.ndarray:
        size = len(buffer) - CIPHER
        encryptor.update_into(memoryview(ZEROS)[:size], buffer.data)
        return buffer[:size].view(WORD)

    return fill


def _aes(key: bytes, counter: int) -> CipherContext:
    return Cipher(AES(key), CTR(counter.to_bytes(CIPHER, "big"))).encryptor()


def weak_seed(key: bytes) -> int:
    """Return the 32 bits that remain of a key under the weak generator."""
    return int(np.bitwise_xor.reduce(np.frombuffer(key, WORD)))


def _weak(key: bytes) -> np.random.Generator:
    """Insecure: folds all 32 bytes of the key into a seed of four, which an attacker can search."""
    return np.random.Generator(np.random.MT19937(weak_seed(key)))
