"""Quantised SGD. Alistarh et al. 2017, arXiv:1610.02132, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.compression.shared.bit_packing import narrow, pack, size, unpack
from lab.common.random_streams import uniform
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class Qsgd(Codec):
    """Rounds each coordinate at random to a few fractions of the update's norm; unbiased.

    The expected squared error is at most min(d / s^2, sqrt(d) / s) of the update's squared norm,
    for
    d coordinates and s levels.  All integers have the same width here; the paper gives small ones
    shorter codes.
    """

    kind: Literal["qsgd"] = "qsgd"
    title: ClassVar[str] = "QSGD"
    source: ClassVar[str] = "Alistarh et al. 2017, arXiv:1610.02132, section 3"
    levels: int = Field(
        15, ge=1, le=127, description="number of levels between zero and the update's norm"
    )

    def contracts(self, params: int) -> bool:
        """Apply the bound of section 3.1: min(d / s^2, sqrt(d) / s) is below 1."""
        return bool(min(params / self.levels**2, params**0.5 / self.levels) < 1)

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        """Encode one update.  Rounding draws from `shared`; decoding needs no draws."""
        s = self.levels
        # A length beyond float32 is cut, and still is no shorter than any coordinate.
        length = narrow(torch.linalg.vector_norm(row, dtype=torch.float64))
        scaled = s * (row.double() / (length.item() or 1.0))  # (params,) from -s to s
        levels = (scaled + uniform(shared, len(row))).floor()  # a whole number stays as it is
        return pack(length.view(1), levels + s, self._width())

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        s = self.levels
        length, numbers = unpack(packet, 1, size(shapes), self._width())
        return narrow(length.double() * ((numbers - s) / s))

    def _width(self) -> int:
        """Return the bits of an integer from 0 to 2s."""
        return (2 * self.levels).bit_length()
