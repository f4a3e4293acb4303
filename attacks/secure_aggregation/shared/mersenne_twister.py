"""The first words of MT19937 for many seeds at once, as NumPy seeds and draws it.

NumPy hashes a seed into a pool of four words, and these into the 624 words of the state (O'Neill
2015,
'Developing a seed_seq alternative').  A word of the output therefore needs only a few of them:
Matsumoto and Nishimura 1998, 'Mersenne twister'.
"""

from __future__ import annotations

from typing import Any

import numpy as np

STATE, SHIFT = 624, 397
MASK = 2**32 - 1
Words = np.ndarray[Any, np.dtype[np.uint32]]
Pool = list[Words]


def pools(seeds: Words) -> Pool:
    """Hash seeds (seeds,) uint32 into pools of four words each."""
    constant = 0x43B0D7E5

    def hashed(value: Words) -> Words:
        nonlocal constant
        value = value ^ np.uint32(constant)
        constant = constant * 0x931E8875 & MASK
        value *= np.uint32(constant)
        value ^= value >> np.uint32(16)
        return value

    def mixed(one: np.ndarray, other: Words) -> Words:
        found = one * np.uint32(0xCA01F9DD) - other * np.uint32(0x4973F715)
        found ^= found >> np.uint32(16)
        return found

    zero = np.zeros(1, np.uint32)  # the same for all seeds, and spread out when it is mixed
    pool = [hashed(seeds), hashed(zero), hashed(zero), hashed(zero)]
    for source in range(4):
        for target in range(4):
            if source != target:
                pool[target] = mixed(pool[target], hashed(pool[source]))
    return pool


def output(pool: Pool, place: int) -> Words:
    """Return the word at that place, 0 to 227, of each seed's output.  -> (seeds,) uint32"""
    if place == 0:  # NumPy begins with the last word of the state that it has hashed
        return _tempered(_state(pool, STATE - 1))
    high = _state(pool, place - 1) & np.uint32(0x80000000)
    low = _state(pool, place) & np.uint32(0x7FFFFFFF)
    twisted = (high | low) >> np.uint32(1)
    twisted ^= (low & np.uint32(1)) * np.uint32(0x9908B0DF)
    return _tempered(_state(pool, place - 1 + SHIFT) ^ twisted)


def _state(pool: Pool, place: int) -> Words:
    """Return one word of each seed's first state.  -> (seeds,)"""
    if place == 0:
        return np.full_like(pool[0], 0x80000000)
    constant = 0x8B51F9DD * pow(0x58F38DED, place, 2**32) & MASK
    value = pool[place % 4] ^ np.uint32(constant)
    value *= np.uint32(constant * 0x58F38DED & MASK)
    value ^= value >> np.uint32(16)
    return value


def _tempered(words: Words) -> Words:
    words = words ^ (words >> np.uint32(11))
    words ^= (words << np.uint32(7)) & np.uint32(0x9D2C5680)
    words ^= (words << np.uint32(15)) & np.uint32(0xEFC60000)
    words ^= words >> np.uint32(18)
    return words
