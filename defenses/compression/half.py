"""Half precision, IEEE 754 binary16. Micikevicius et al. 2018, arXiv:1710.03740."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from defenses.compression.shared.bit_packing import size
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape

HALF = np.dtype("<f2")
LARGEST = torch.finfo(torch.float16).max  # 65504


class Half(Codec):
    """Rounds each coordinate to a 16-bit float: half the bytes and a small error.

    The error is at most 2^-11 of a magnitude from 2^-14 to 65504, and at most 2^-25 for smaller
    magnitudes; larger ones arrive as 65504.
    """

    kind: Literal["half"] = "half"
    title: ClassVar[str] = "Half precision (float16)"
    source: ClassVar[str] = "Micikevicius et al. 2018, arXiv:1710.03740"

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        return row.clamp(-LARGEST, LARGEST).numpy().astype(HALF).tobytes()

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        expected = 2 * size(shapes)
        if len(packet) != expected:
            raise ValueError(f"the packet has {len(packet)} bytes: it should have {expected}")
        return torch.from_numpy(np.frombuffer(packet, HALF).astype(np.float32))
