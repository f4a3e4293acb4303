"""PowerSGD, low-rank compression. Vogels et al. 2019, arXiv:1905.13727, algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.compression.shared.bit_packing import narrow, pack, unpack
from lab.common.random_streams import normal
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class PowerSgd(Codec):
    """Sends two thin matrices for each weight matrix; sends biases and small matrices whole.

    A matrix of rank `rank` or less arrives exactly.  Unlike in the paper, each client compresses
    alone, and starts from a fresh random matrix in place of the last round's Q, because a codec
    keeps
    no state.
    """

    kind: Literal["powersgd"] = "powersgd"
    title: ClassVar[str] = "PowerSGD"
    source: ClassVar[str] = "Vogels et al. 2019, arXiv:1905.13727, algorithm 1"
    rank: int = Field(
        2, ge=1, le=64, description="rank of the approximation: columns of the thin matrices"
    )

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        parts = zip(row.split([prod(shape) for shape in shapes]), shapes, strict=True)
        return pack(torch.cat([self._shrink(part, shape, shared) for part, shape in parts]))

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        counts = [self._sent(shape) for shape in shapes]
        parts = zip(unpack(packet, sum(counts))[0].split(counts), shapes, strict=True)
        return torch.cat([self._grow(part, shape) for part, shape in parts])

    def _shrink(self, part: Tensor, shape: Shape, shared: np.random.Generator) -> Tensor:
        """Compress one parameter, part (n m,), to P and then Q, ((n + m) rank,)."""
        if self._sent(shape) == len(part):
            return part
        m = part.double().view(sides(shape))  # M in the paper
        q = normal(shared, m.shape[1], self.rank).double()  # (m, rank)
        p = torch.linalg.qr(m @ q).Q  # (n, rank), orthonormal columns
        return narrow(torch.cat([p, m.T @ p]).flatten())

    def _grow(self, part: Tensor, shape: Shape) -> Tensor:
        """Rebuild one parameter from P and Q.  -> P Q^T, (n m,)"""
        if self._sent(shape) == prod(shape):
            return part
        p, q = part.double().view(-1, self.rank).split(sides(shape))
        return narrow((p @ q.T).flatten())

    def _sent(self, shape: Shape) -> int:
        """Count the floats sent for a parameter: all of them where P and Q are no smaller."""
        return min(prod(shape), self.rank * sum(sides(shape)))


def sides(shape: Shape) -> tuple[int, int]:
    """Return rows and columns of a parameter as a matrix: its first axis by all others."""
    return prod(shape[:1]), prod(shape[1:])
