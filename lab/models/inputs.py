"""Inputs of a model: bytes to floats, and a tensor on the side of another."""

from __future__ import annotations

import torch
from torch import Tensor


def as_floats(inputs: Tensor) -> Tensor:
    """Pictures are kept as bytes and read as [0, 1]; columns of a table are floats already."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs


def like(floats: Tensor, stored: Tensor) -> Tensor:
    """The inverse of `as_floats`, into the type of `stored`."""
    if stored.dtype != torch.uint8:
        return floats.to(stored.dtype)
    return floats.mul(255).round_().clamp_(0, 255).to(torch.uint8)
