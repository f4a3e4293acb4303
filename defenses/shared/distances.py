"""Squared distances between rows, each from its own differences: nothing cancels."""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS = 1024  # at a time: a block of so many stays in the processor's cache


def gaps(rows: Tensor) -> Tensor:
    """rows (clients, params) -> (clients, clients) float64; exactly 0 between equal rows

    Norm expansion, |x|^2 + |y|^2 - 2xy, would lose what rows far from the origin differ by, and
    in whole blocks this is hardly slower.  No gradient goes through: distances serve choices.
    """
    blocks = rows.detach().split(COLUMNS, dim=1)
    pairs = torch.stack([torch.pdist(block.double()).square() for block in blocks]).sum(dim=0)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    between = pairs.new_zeros(len(rows), len(rows))
    between[first, second] = between[second, first] = pairs
    return between
