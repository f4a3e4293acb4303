"""Squared distances between updates, computed from differences to avoid cancellation."""

from __future__ import annotations

import torch
from torch import Tensor

COLUMNS = 1024  # at a time: a block of so many stays in the processor's cache


def gaps(rows: Tensor) -> Tensor:
    """Return squared distances.  rows (clients, params) -> (clients, clients) float64

    Equal rows have distance exactly 0.  The expansion |x|^2 + |y|^2 - 2xy would lose the
    differences of
    rows far from the origin; in whole blocks this is hardly slower.  No gradient passes through,
    because distances only serve to choose rows.
    """
    blocks = rows.detach().split(COLUMNS, dim=1)
    pairs = torch.stack([torch.pdist(block.double()).square() for block in blocks]).sum(dim=0)
    first, second = torch.triu_indices(len(rows), len(rows), 1, device=rows.device)
    between = pairs.new_zeros(len(rows), len(rows))
    between[first, second] = between[second, first] = pairs
    return between
