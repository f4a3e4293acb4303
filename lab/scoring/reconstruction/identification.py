"""Neighbours: how alike other examples are, and whose picture a guess is nearest to.

A reconstruction that looks good may be any picture of its class.  So it is looked up among the
whole training set: first with its victim there, then among decoys alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from lab.common.settings import Settings
from lab.scoring.reconstruction.image_metrics import decibels

CLOSE = 8  # nearest rows whose distances are computed once more, in float64
BLOCK = 64  # pictures looked up at once
SAMPLE = 200  # training examples that tell how alike examples usually are


class Identification(Settings):
    """Where guesses lead when they are looked up by squared error.  It needs the truth."""

    pool: int  # training examples looked through, victims included
    ranks: tuple[int, ...]  # of each guess's own victim; 1: nearest of all
    margin: float  # dB, median: how much nearer the victim is than the nearest decoy
    usual: float  # dB: the most similar other example reaches less for 95 % of training examples
    above: int  # guesses above that

    @property
    def first(self) -> int:
        """How many guesses are nearest to their own victim."""
        return sum(rank == 1 for rank in self.ranks)

    def sentence(self) -> str:
        """How many lead to their victim, and how sure that is."""
        side = "further off" if self.margin >= 0 else "nearer"
        return (
            f"looked up among {self.pool:,} training examples, {self.first} of {len(self.ranks)} "
            f"lead to their own private example first (by chance 1 in {self.pool:,}); the nearest "
            f"decoy is {abs(self.margin):.1f} dB {side} than it (median)"
        )

    def crowd(self) -> str:
        """How many are more alike than two training examples are."""
        return (
            f"{self.above} of {len(self.ranks)} above {self.usual:.1f} dB, which for 95 % of "
            "training examples no other one reaches"
        )


@dataclass(frozen=True, eq=False)
class Pool:
    """Examples among which others are looked up."""

    rows: Tensor  # (pool, pixels) floats

    @cached_property
    def _squares(self) -> Tensor:
        return self.rows.square().sum(dim=1)

    def errors(self, some: Tensor) -> Tensor:
        """some (some, pixels) -> mean squared errors (some, pool); the smallest ones are exact"""
        found = (self._squares - 2 * some @ self.rows.T).add_(
            some.square().sum(dim=1, keepdim=True)
        )
        errors = found.clamp_min_(0).double() / self.rows.shape[1]
        near = errors.topk(min(CLOSE, len(self.rows)), largest=False).indices  # (some, close)
        gaps = self.rows[near].double() - some.unsqueeze(1).double()
        return errors.scatter_(1, near, gaps.square().mean(dim=2))

    def nearest(self, some: Tensor) -> Tensor:
        """The smallest error of each.  some (some, pixels) -> (some,)"""
        return torch.cat([self.errors(block).amin(dim=1) for block in some.split(BLOCK)])

    def nearer(self, some: Tensor, than: Tensor) -> Tensor:
        """How many rows are nearer to each than `than` (some,).  -> (some,)"""
        blocks = zip(some.split(BLOCK), than.split(BLOCK), strict=True)
        return torch.cat([(self.errors(a) < b.unsqueeze(1)).sum(dim=1) for a, b in blocks])

    @cached_property
    def usual(self) -> float:
        """dB that the most similar other row reaches for all but 5 % of the rows."""
        places = torch.linspace(0, len(self.rows) - 1, min(SAMPLE, len(self.rows))).long().unique()
        best = []
        for block in places.split(BLOCK):
            errors = self.errors(self.rows[block])
            errors[torch.arange(len(block)), block] = torch.inf  # itself
            best += errors.amin(dim=1).tolist()
        return float(np.percentile([decibels(error) for error in best], 95))


def identified(guesses: Tensor, victims: Tensor, mates: Tensor, decoys: Pool) -> Identification:
    """guesses, victims (pairs, pixels); mates (private, pixels): all of the update, victims too"""
    errors = (guesses.double() - victims.double()).square().mean(dim=1)  # (pairs,)
    nearer = decoys.nearer(guesses, errors) + Pool(mates).nearer(guesses, errors)
    best = decoys.nearest(guesses)
    margins = [decibels(float(a)) - decibels(float(b)) for a, b in zip(errors, best, strict=True)]
    return Identification(
        pool=len(decoys.rows) + len(mates),
        ranks=tuple((nearer + 1).tolist()),
        margin=float(np.median(margins)),
        usual=decoys.usual,
        above=sum(decibels(float(error)) > decoys.usual for error in errors),
    )
