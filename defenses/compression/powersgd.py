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
    """Send two thin matrices in place of each weight matrix; biases and small ones go whole.

    A matrix of no higher rank arrives exactly.  Unlike the paper's, each client compresses alone,
    and from a fresh draw in place of the last round's Q, because a codec remembers nothing.
    """

    kind: Literal["powersgd"] = "powersgd"
    source: ClassVar[str] = "Vogels et al. 2019, arXiv:1905.13727, algorithm 1"
    rank: int = Field(2, ge=1, le=64, description="columns of the thin matrices")

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        parts = zip(row.split([prod(shape) for shape in shapes]), shapes, strict=True)
        return pack(torch.cat([self._shrink(part, shape, shared) for part, shape in parts]))

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        counts = [self._sent(shape) for shape in shapes]
        parts = zip(unpack(packet, sum(counts))[0].split(counts), shapes, strict=True)
        return torch.cat([self._grow(part, shape) for part, shape in parts])

    def _shrink(self, part: Tensor, shape: Shape, shared: np.random.Generator) -> Tensor:
        """part (n m,) -> P and then Q, ((n + m) rank,)"""
        if self._sent(shape) == len(part):
            return part
        m = part.double().view(sides(shape))  # M in the paper
        q = normal(shared, m.shape[1], self.rank).double()  # (m, rank)
        p = torch.linalg.qr(m @ q).Q  # (n, rank), orthonormal columns
        return narrow(torch.cat([p, m.T @ p]).flatten())

    def _grow(self, part: Tensor, shape: Shape) -> Tensor:
        """P and Q -> P Q^T, (n m,)"""
        if self._sent(shape) == prod(shape):
            return part
        p, q = part.double().view(-1, self.rank).split(sides(shape))
        return narrow((p @ q.T).flatten())

    def _sent(self, shape: Shape) -> int:
        """Floats sent for a parameter: as many as it has, where P and Q would be no fewer."""
        return min(prod(shape), self.rank * sum(sides(shape)))


def sides(shape: Shape) -> tuple[int, int]:
    """Rows and columns of a parameter as a matrix: its first axis by all others."""
    return prod(shape[:1]), prod(shape[1:])
