"""Top-k sparsification. Aji and Heafield 2017, arXiv:1704.05021."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from defenses.compression.shared.bit_packing import pack, size, unpack
from lab.interfaces.aggregation import Codec
from lab.models.layers import Shape


class TopK(Codec):
    """Sends only the largest coordinates and their indices; suits updates with few large ones.

    The squared error is that of the coordinates left out, the least possible for so many.  The
    error
    is biased: small coordinates are lost for good, unless the client uses error feedback.
    """

    kind: Literal["top-k"] = "top-k"
    title: ClassVar[str] = "Top-k sparsification"
    source: ClassVar[str] = "Aji and Heafield 2017, arXiv:1704.05021"
    share: float = Field(0.1, ge=1e-4, le=1, description="share of the coordinates that is sent")

    def encode(self, row: Tensor, shapes: Sequence[Shape], shared: np.random.Generator) -> bytes:
        sent = self._count(len(row))
        count, width = layout(len(row), sent)
        kept = largest(row, sent)
        if count == len(row):
            return pack(row[kept], kept, width)
        named = kept if count == sent else ~kept
        return pack(row[kept], named.nonzero().flatten(), width)

    def decode(self, packet: bytes, shapes: Sequence[Shape], shared: np.random.Generator) -> Tensor:
        params = size(shapes)
        sent = self._count(params)
        count, width = layout(params, sent)
        values, places = unpack(packet, sent, count, width)
        if count == params:
            kept = places.bool()
        else:
            named = torch.zeros(2**width, dtype=torch.bool)  # room for every index of that width
            named[places] = True
            kept = named[:params] if count == sent else ~named[:params]
        if kept.sum() != sent:
            raise ValueError(f"the packet does not name {count} different places below {params}")
        row = torch.zeros(params)
        row[kept] = values
        return row

    def _count(self, params: int) -> int:
        return max(1, round(self.share * params))


def largest(row: Tensor, count: int) -> Tensor:
    """Mark the `count` largest magnitudes, the first among equals.  (params,) -> (params,) bool"""
    magnitudes = row.abs()
    least = magnitudes.kthvalue(len(row) - count + 1).values  # quicker than to sort them all
    kept: Tensor = magnitudes > least
    equal = (magnitudes == least).nonzero().flatten()
    kept[equal[: count - int(kept.sum())]] = True
    return kept


def layout(params: int, kept: int) -> tuple[int, int]:
    """Choose the shortest encoding of the kept coordinates.  -> number of integers, bits of each

    Either one bit for each coordinate, or the indices of those kept or of those left out.
    """
    fewer, width = min(kept, params - kept), (params - 1).bit_length()
    return (params, 1) if params < fewer * width else (fewer, width)
