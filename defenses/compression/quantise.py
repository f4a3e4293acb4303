"""Uniform quantisation, and random rotation. Suresh et al. 2017, arXiv:1611.00429."""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.compression.shared.bit_packing import narrow, pack, size, unpack
from lab.common.random_streams import uniform
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class Quantise(Codec):
    """Round each coordinate at random to a grid from the least to the greatest: right on average.

    One outlier makes the grid coarse for all.  A random rotation, which the server undoes, spreads
    outliers over all coordinates: no gain on Gaussian rows, a great one on heavy tails.
    """

    kind: Literal["quantise"] = "quantise"
    source: ClassVar[str] = "Suresh et al. 2017, arXiv:1611.00429"
    bits: Literal[2, 4, 8] = Field(8, description="bits for each coordinate")
    rotate: bool = Field(
        False, description="spread outliers first; fills the row up to a power of two"
    )

    def contracts(self, params: int) -> bool:
        """Without a rotation one far coordinate leaves all others on a grid too coarse for them;
        with one, 2 bits lose more than the row is long (measured: 1.16 of it).
        """
        return self.rotate and self.bits > 2

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        """Rounding draws from `shared` for want of another stream; only the rotation needs it."""
        values = narrow(rotate(row, shared)) if self.rotate else row
        ends = torch.stack([values.min(), values.max()])
        low, step = self._grid(ends)
        scaled = (values.double() - low) / (step or 1.0)  # (sent,) from 0 to 2^bits - 1
        # Draws are 1 - 2^-24 at most, so that the greatest stays the last point of the grid.
        points = (scaled + uniform(shared, len(values))).floor()
        return pack(ends, points, self.bits)

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        params = size(shapes)
        ends, points = unpack(packet, 2, padded(params) if self.rotate else params, self.bits)
        low, step = self._grid(ends)
        values = low + step * points.double()
        return narrow(rotate_back(values, shared)[:params] if self.rotate else values)

    def _grid(self, ends: Tensor) -> tuple[float, float]:
        """Its first point, and the distance to the next."""
        low, high = ends.tolist()
        return low, (high - low) / (2**self.bits - 1)


def rotate(row: Tensor, shared: np.random.Generator) -> Tensor:
    """Random signs, then Hadamard.  row (params,) -> (padded,) float64"""
    values = torch.zeros(padded(len(row)), dtype=torch.float64)
    values[: len(row)] = row
    return hadamard(values * signs(len(values), shared))


def rotate_back(values: Tensor, shared: np.random.Generator) -> Tensor:
    """Undoes `rotate` where the draws are the same: either step is its own inverse."""
    return hadamard(values) * signs(len(values), shared)


def hadamard(values: Tensor) -> Tensor:
    """The orthonormal Walsh-Hadamard transform.  values (2^m,) -> (2^m,)"""
    for _ in range(len(values).bit_length() - 1):
        # Sum and difference along the first of m axes of length 2, which then becomes the last:
        # after m passes every axis had its turn and is back in its place.
        first, second = values.view(2, -1)
        values = torch.stack([first + second, first - second], dim=1).flatten()
    return values / sqrt(len(values))


def signs(count: int, shared: np.random.Generator) -> Tensor:
    return torch.from_numpy(shared.choice([-1.0, 1.0], count))


def padded(params: int) -> int:
    """The least power of two that is no smaller."""
    return 1 << (params - 1).bit_length()
