"""Norms of rows, angles between them, and weighted sums, in double precision.

Double precision avoids float32 overflow.  A caller that needs several of them should convert the
rows first.  Factors and shares are constants for autograd: a row's contribution to the step is that
of the clipped row, and none is credited to the client whose norm set the bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING = 1e-100  # shorter than any row but a zero row, which it keeps from dividing by zero


def lengths_of(rows: Tensor) -> Tensor:
    """Return the norms.  rows (clients, params) -> (clients,) float64"""
    lengths: Tensor = torch.linalg.vector_norm(rows.double(), dim=1)
    return lengths


def cosines_of(rows: Tensor) -> Tensor:
    """Return the cosines of all pairs, 0 with a zero row.

    rows (clients, params) -> (clients, clients), rounded, so that equal directions compare equal in
    any
    order of the rows.
    """
    exact = rows.double()
    products = exact @ exact.T  # (clients, clients)
    lengths = products.diagonal().sqrt().clamp_min(NOTHING)
    return (products / lengths / lengths.unsqueeze(1)).round(decimals=12)


def middle(lengths: Tensor) -> Tensor:
    """Return the median; for an even number, the mean of the two middle values."""
    return lengths.quantile(0.5)


def shortening(lengths: Tensor, bound: Tensor | float) -> Tensor:
    """Return the factors that clip rows of those norms.  (clients,) -> (clients,), at most 1"""
    return torch.where(lengths > bound, bound / lengths.clamp_min(NOTHING), 1.0)


def scaled(rows: Tensor, factors: Tensor) -> Tensor:
    """Multiply each row by its factor.  rows (clients, params), factors (clients,) -> like rows"""
    return (factors.detach().unsqueeze(1) * rows).to(rows.dtype)


def blended(rows: Tensor, shares: Tensor) -> Tensor:
    """Return the sum of rows times their shares.

    rows (clients, params), shares (clients,) or (sums, clients) -> (params,) or (sums, params)
    """
    return (shares.detach().double() @ rows.double()).to(rows.dtype)
