"""The layout of all packets: float32 values first, then integers of a few bits each."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import torch
from torch import Tensor

from lab.models.layers import Shape

FLOAT = np.dtype("<f4")
LARGEST = torch.finfo(torch.float32).max


def size(shapes: Sequence[Shape]) -> int:
    """Count the coordinates of an update with these shapes."""
    return sum(prod(shape) for shape in shapes)


def pack(values: Tensor, numbers: Tensor | None = None, width: int = 0) -> bytes:
    """Pack values (floats,) and integers (count,), each below 2^width; width is at most 32."""
    packet = values.numpy().astype(FLOAT).tobytes()
    if numbers is None:
        return packet
    container = _container(width)
    whole = numbers.numpy().astype(container).view(np.uint8)
    bits = np.unpackbits(whole, bitorder="little").reshape(-1, 8 * container.itemsize)
    return packet + np.packbits(bits[:, :width], bitorder="little").tobytes()


def unpack(packet: bytes, floats: int, count: int = 0, width: int = 0) -> tuple[Tensor, Tensor]:
    """Unpack a packet.  Raises ValueError for a wrong length.  -> (floats,), (count,) int64"""
    expected = 4 * floats + -(-count * width // 8)
    if len(packet) != expected:
        raise ValueError(f"the packet has {len(packet)} bytes: it should have {expected}")
    values = np.frombuffer(packet, FLOAT, floats).astype(np.float32)
    packed = np.frombuffer(packet, np.uint8, offset=4 * floats)
    container = _container(width)
    bits = np.zeros((count, 8 * container.itemsize), np.uint8)
    filled = np.unpackbits(packed, count=count * width, bitorder="little")
    bits[:, :width] = filled.reshape(count, width)
    numbers = np.packbits(bits, bitorder="little").view(container).astype(np.int64)
    return torch.from_numpy(values), torch.from_numpy(numbers)


def narrow(values: Tensor) -> Tensor:
    """Convert to float32.  Values too large become the largest float: finite input stays finite."""
    return values.clamp(-LARGEST, LARGEST).float()


def _container(width: int) -> np.dtype[np.unsignedinteger]:
    """Return the smallest integer type that holds so many bits."""
    return np.dtype("<u1" if width <= 8 else "<u2" if width <= 16 else "<u4")
