"""Signs and one scale. Bernstein et al. 2018, arXiv:1802.04434; the scale: arXiv:1901.09847."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from defenses.compression.shared.bit_packing import narrow, pack, size, unpack
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class Sign(Codec):
    """Sends the sign of each coordinate as one bit, and the mean magnitude of all coordinates.

    The squared error is 1 - (mean |x|)^2 / mean x^2 of the squared norm: 1 - 2/pi for Gaussians.
    """

    kind: Literal["sign"] = "sign"
    title: ClassVar[str] = "Scaled sign"
    source: ClassVar[str] = "Karimireddy et al. 2019, arXiv:1901.09847"

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        """Encode one update.  Zero counts as positive, because a bit has no third value."""
        scale = narrow(row.abs().mean(dtype=torch.float64))
        return pack(scale.view(1), row >= 0, 1)

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        scale, positive = unpack(packet, 1, size(shapes), 1)
        return scale * (2 * positive - 1)
