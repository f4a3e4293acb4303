"""No compression: the baseline of all codecs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from torch import Tensor

from defenses.compression.shared.bit_packing import pack, size, unpack
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class Whole(Codec):
    """Sends every coordinate as a 32-bit float: four bytes each, without error."""

    kind: Literal["none"] = "none"
    title: ClassVar[str] = "No compression"

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        return pack(row)

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        row, _ = unpack(packet, size(shapes))
        return row
