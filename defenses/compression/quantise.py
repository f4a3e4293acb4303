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
    """Rounds each coordinate at random to an even grid from the minimum to the maximum; unbiased.

    One outlier makes the grid coarse for all coordinates.  A random rotation, which the server
    undoes, spreads outliers over all coordinates: it does not help for Gaussian updates, and helps
    much for heavy-tailed ones.
    """

    kind: Literal["quantise"] = "quantise"
    title: ClassVar[str] = "Uniform quantisation"
    source: ClassVar[str] = "Suresh et al. 2017, arXiv:1611.00429"
    bits: Literal[2, 4, 8] = Field(8, description="bits for each coordinate")
    rotate: bool = Field(
        False,
        description=(
            "rotate the update at random first, which spreads outliers; pads it to a power of two"
        ),
    )

    def contracts(self, params: int) -> bool:
        """Return whether the error is below the norm: with a rotation and more than 2 bits.

        Without a rotation, one outlier makes the grid too coarse for all other coordinates.  With a
        rotation, 2 bits lose more than the update's squared norm (measured: 1.16 of it).
        """
        return self.rotate and self.bits > 2

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        """Encode one update.  Rounding also draws from `shared`; only the rotation is redrawn."""
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
        """Return the first point of the grid and the distance between points."""
        low, high = ends.tolist()
        return low, (high - low) / (2**self.bits - 1)


def rotate(row: Tensor, shared: np.random.Generator) -> Tensor:
    """Flip random signs, then apply the Hadamard transform.  row (params,) -> (padded,) float64"""
    values = torch.zeros(padded(len(row)), dtype=torch.float64)
    values[: len(row)] = row
    return hadamard(values * signs(len(values), shared))


def rotate_back(values: Tensor, shared: np.random.Generator) -> Tensor:
    """Undo `rotate`, given the same draws: each of its steps is its own inverse."""
    return hadamard(values) * signs(len(values), shared)


def hadamard(values: Tensor) -> Tensor:
    """Apply the orthonormal Walsh-Hadamard transform.  values (2^m,) -> (2^m,)"""
    for _ in range(len(values).bit_length() - 1):
        # Sum and difference along the first of m axes of length 2, which then becomes the last:
        # after m passes every axis had its turn and is back in its place.
        first, second = values.view(2, -1)
        values = torch.stack([first + second, first - second], dim=1).flatten()
    return values / sqrt(len(values))


def signs(count: int, shared: np.random.Generator) -> Tensor:
    return torch.from_numpy(shared.choice([-1.0, 1.0], count))


def padded(params: int) -> int:
    """Return the smallest power of two that is at least `params`."""
    return 1 << (params - 1).bit_length()
