"""No compression: what every codec is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np
from torch import Tensor

from defenses.compression.shared.bit_packing import pack, size, unpack
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class Whole(Codec):
    """Send every coordinate as a 32-bit float: four bytes each, and exact."""

    kind: Literal["none"] = "none"

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        return pack(row)

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        row, _ = unpack(packet, size(shapes))
        return row
