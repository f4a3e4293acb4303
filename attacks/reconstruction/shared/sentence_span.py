"""Right and wrong beginnings of sentences, told apart by the span of a gradient.

Petrov et al. 2024, arXiv:2405.15586 (DAGER), section 4: the inputs of a dense layer lie in the span
of its gradient.  `attacks.reconstruction.analytic.sentences` says which layer, and why.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.interfaces.views import ServerView
from lab.models.layers import Block, Embedding, Positions

FLOOR = 3e-7  # singular values below, by the largest, are rounding
ROOM = 4  # directions that must be left free: a wrong beginning fits into a full span


@dataclass(frozen=True, eq=False)
class Span:
    """The span of the inputs of the first layer's dense half, and the inputs of a guess.

    In the first layer a word's query, key and value depend only on its position, so they are known
    before any sentence is.
    """

    basis: Tensor  # (rank, width) float64
    vectors: Tensor  # (typed, places, width)
    asked: Tensor  # (typed, places, heads, each): queries,
    offered: Tensor  # keys,
    told: Tensor  # and values
    mix: Tensor  # (width, width)
    normal: tuple[Tensor, Tensor]  # of what the dense half reads

    @classmethod
    def of(cls, view: ServerView, gradient: Tensor, typed: Tensor) -> Span | None:
        """Compute the span; None where everything lies in it.

        typed (words,) may stand in sentences.
        """
        network = view.network
        words, places, block = network.layers[:3]
        assert isinstance(words, Embedding)
        assert isinstance(places, Positions)
        assert isinstance(block, Block)
        seen = network.split(gradient)[f"{block.name}.up.weight"]  # (hidden, width)
        values, directions = torch.linalg.svd(seen, full_matrices=False)[1:]
        rank = int((values > FLOOR * values[0]).sum())
        if not rank or rank > block.width - ROOM:
            return None
        own = network.owned(network.split(view.sent.double()))
        table, stands, halves = own[0][0], own[1][0], own[2]
        vectors = table[typed].unsqueeze(1) + stands
        read = F.layer_norm(vectors, vectors.shape[-1:], halves[0], halves[1])
        asked, offered, told = (
            (read @ weight.mT).unflatten(-1, (block.heads, -1)) for weight in halves[2:5]
        )
        normal = halves[6], halves[7]
        return cls(directions[:rank], vectors, asked, offered, told, halves[5], normal)

    def outside(self, beginnings: Tensor) -> Tensor:
        """Return the relative distance from the span of the inputs at the last position.

        beginnings (some, places): places in `typed` -> (some,)
        """
        read = self.read(beginnings)
        rest = read - read @ self.basis.mT @ self.basis
        distance: Tensor = rest.norm(dim=1) / read.norm(dim=1)
        return distance

    def read(self, beginnings: Tensor) -> Tensor:
        """Return the inputs of the dense half at the last position.  -> (beginnings, width)"""
        last, place = beginnings[:, -1], beginnings.shape[1] - 1
        every = torch.arange(place + 1)
        asked = self.asked[last, place].unsqueeze(2)  # (beginnings, heads, 1, each)
        offered, told = (
            kept[beginnings, every].transpose(1, 2) for kept in (self.offered, self.told)
        )  # (beginnings, heads, places, each)
        left = F.scaled_dot_product_attention(asked, offered, told).flatten(1) @ self.mix.mT
        left = left + self.vectors[last, place]
        return F.layer_norm(left, left.shape[-1:], *self.normal)
