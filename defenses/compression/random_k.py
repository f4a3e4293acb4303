"""Random sparsification. Konečný et al. 2016, arXiv:1610.05492.

With p for the share sent, the expected squared error is 1/p - 1 of the update's squared norm where
values are multiplied by 1/p, and 1 - p where they are not (Stich et al. 2018, arXiv:1809.07599).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.compression.shared.bit_packing import narrow, pack, size, unpack
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class RandomK(Codec):
    """Sends coordinates drawn at random; the server repeats the draw, so no indices are sent.

    Unbiased: the errors of many clients average out.  Biased: steps shrink to `share` of their
    length,
    but no error is longer than its update.  Error feedback needs the biased form, since unbiased
    errors would grow from round to round (for shares below a half).
    """

    kind: Literal["random-k"] = "random-k"
    title: ClassVar[str] = "Random-k sparsification"
    source: ClassVar[str] = "Konečný et al. 2016, arXiv:1610.05492"
    share: float = Field(0.1, ge=1e-4, le=1, description="share of the coordinates that is sent")
    unbiased: bool = Field(
        True,
        description=(
            "divide values by the share: unbiased on average, but unsuitable for error feedback"
        ),
    )

    def contracts(self, params: int) -> bool:
        return not self.unbiased or self.share > 0.5

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        return pack(row[self._draw(len(row), shared)])

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        params = size(shapes)
        drawn = self._draw(params, shared)
        values, _ = unpack(packet, len(drawn))
        factor = params / len(drawn) if self.unbiased else 1.0
        row = torch.zeros(params)
        row[drawn] = narrow(factor * values.double())
        return row

    def _draw(self, params: int, shared: np.random.Generator) -> Tensor:
        """Draw distinct coordinates, in the order in which they are sent."""
        count = max(1, round(self.share * params))
        return torch.from_numpy(shared.choice(params, count, replace=False, shuffle=False))
