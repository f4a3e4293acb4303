"""Exhaustive search of a weak mask generator's seeds, as such generators were once shipped.

If all clients but the target and one other collude with the server, one unknown mask lies on the
target's row.  The right seed makes every word one that a client can send.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from attacks.secure_aggregation.shared.masked_sums import (
    everybody,
    expanded,
    opened,
    others_than,
    read,
    staged,
    weak_words,
)
from attacks.secure_aggregation.shared.mersenne_twister import Pool, output, pools
from lab.common.thread_time import thread_seconds
from lab.interfaces.attack_data import MaliciousServer, StagedRound, UpdateEstimate
from lab.interfaces.privacy_attacks import SecureAggregationAttack
from lab.interfaces.views import ServerView

CHUNK = 2**14  # seeds at a time, so that their pools stay in the processor's cache
PLACES = 24  # words that are looked at before a mask is computed whole
STRIDE = 2**24  # seeds between two claims


class WeakMasks(SecureAggregationAttack):
    """Searches the 32-bit seeds of the only unknown mask on the target's update."""

    kind: Literal["weak-masks"] = "weak-masks"
    title: ClassVar[str] = "Weak mask generator"
    source: ClassVar[str] = "Bonawitz et al. 2017, eprint 2017/281; Matsumoto and Nishimura 1998"
    attacker: ClassVar[str] = (
        "a server whose accomplices are all clients but the target and one other"
    )
    knows: ClassVar[str] = "its accomplices' keys, and some bits of the seed (setting `told`)"
    fails: ClassVar[str] = "generators with too many keys to search, such as AES"
    told: int = Field(
        12,
        ge=0,
        le=31,
        description=(
            "number of the seed's 32 bits that the attacker is given, to shorten the search"
        ),
    )

    def __call__(self, server: MaliciousServer, target: int) -> Iterator[UpdateEstimate]:
        """Yield claims without an update now and then, and one with it as soon as a seed fits."""
        others = others_than(server, target, 2, self.kind)
        mine = others[1:]  # all but one
        plot = StagedRound(clients=everybody(server), accomplices=mine, hint=self.told)
        view = staged(server, plot)
        row, unknown = bared(view, target)
        name = "row of the target"
        if unknown is None:
            told, weight = read(row, view)
            only = (f"client {target} shares masks with accomplices only: nothing was searched",)
            yield UpdateEstimate(name, 1, 1, told / weight, weight=weight, notes=only)
            return
        pair = min(target, unknown), max(target, unknown)
        search = Search(
            row=row,
            sign=1 if target < unknown else -1,
            most=opened(view).most,
            hint=opened(view).hints.get(pair, 0),
            told=self.told,
        )
        knew = f"{self.told} of the seed's 32 bits were told, so that 2^{32 - self.told} were left"
        began, steps = thread_seconds(), -(-search.size // STRIDE)
        for step in range(steps):
            found = search.between(step * STRIDE, min((step + 1) * STRIDE, search.size))
            fast = speed(found.tried, thread_seconds() - began)
            if found.seed is None:
                notes = (f"none of {found.tried:,} seeds fits", fast, knew)
                yield UpdateEstimate(name, step + 1, steps, notes=notes)
                continue
            told, weight = read(search.without(found.seed), view)
            notes = (
                f"seed {found.seed} fits, found among {found.tried:,} that were tried",
                fast,
                knew,
            )
            yield UpdateEstimate(name, steps, steps, told / weight, weight=weight, notes=notes)
            return


def speed(tried: int, seconds: float) -> str:
    """Report the speed of the search, and the time for all seeds."""
    rate = tried / max(seconds, 1e-9)
    return f"{rate:,.0f} seeds a second; all 2^32 would take {2**32 / rate / 60:,.1f} minutes"


def bared(view: ServerView, target: int) -> tuple[np.ndarray, int | None]:
    """Return the target's masked row without the known masks, and who shares the one left.

    Its own mask is known from the unmasking.  -> (words,) uint32, a client or None
    """
    known, masked = opened(view), view.masked
    assert masked is not None
    row = masked[view.senders[0].index(target)].copy()
    row -= expanded(known.seeds[target], len(row), known.generator)
    left = None
    for peer in known.partners[target]:
        key = known.keys.get((min(target, peer), max(target, peer)))
        if key is None:
            left = peer
            continue
        mask = expanded(key, len(row), known.generator)
        row = row - mask if target < peer else row + mask
    return row, left


@dataclass(frozen=True)
class Found:
    """The outcome of a search."""

    tried: int  # seeds so far
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class Search:
    """A search for the seed of the mask that is left on a row."""

    row: np.ndarray  # (words,) uint32
    sign: int  # of the mask
    most: int  # no word of a client is larger in size
    hint: int  # the seed's last bits
    told: int  # how many those are

    @property
    def size(self) -> int:
        """Return the number of seeds."""
        return int(2 ** (32 - self.told))

    def between(self, first: int, last: int) -> Found:
        """Return the seed that fits, among numbers first to last - 1."""
        for start in range(first, last, CHUNK):
            numbers = np.arange(start, min(start + CHUNK, last), dtype=np.uint64)
            seeds = (numbers << np.uint64(self.told) | np.uint64(self.hint)).astype(np.uint32)
            for seed in self._promising(seeds).tolist():
                if self._possible(self.without(seed)[:-1]).all():
                    return Found(start + len(seeds), seed)
        return Found(last)

    def without(self, seed: int) -> np.ndarray:
        """Remove the mask of that seed from the row.  -> (words,) uint32"""
        return self._bare(weak_words(seed, len(self.row)), self.row)

    def _promising(self, seeds: np.ndarray) -> np.ndarray:
        """Keep the seeds that make the first words possible; each word removes most of the rest."""
        pool: Pool = [np.broadcast_to(words, seeds.shape) for words in pools(seeds)]
        for place in range(min(PLACES, len(self.row) - 1)):
            fits = self._possible(self._bare(output(pool, place), self.row[place]))
            seeds, pool = seeds[fits], [words[fits] for words in pool]
            if not len(seeds):
                break
        return seeds

    def _bare(self, mask: np.ndarray, row: np.ndarray) -> np.ndarray:
        bare: np.ndarray = row - mask if self.sign > 0 else row + mask
        return bare

    def _possible(self, words: np.ndarray) -> np.ndarray:
        """Mark the words that a client can send, as signed numbers between -most and most."""
        possible: np.ndarray = words + np.uint32(self.most) <= np.uint32(2 * self.most)
        return possible
