"""Lengths of rows, angles between them, and their sums, in double precision.

There no float32 overflows.  Who needs several of them does best to convert the rows first.
Factors and shares count as settled for autograd: what a row adds to the step is then what it adds
as it was shortened, and nobody's part goes to whoever set the bound.
"""

from __future__ import annotations

import torch
from torch import Tensor

NOTHING = 1e-100  # shorter than any row but a zero row, which it keeps from dividing by zero


def lengths_of(rows: Tensor) -> Tensor:
    """rows (clients, params) -> (clients,) float64"""
    lengths: Tensor = torch.linalg.vector_norm(rows.double(), dim=1)
    return lengths


def cosines_of(rows: Tensor) -> Tensor:
    """Between all pairs of rows; 0 with a zero row.  rows (clients, params) -> (clients, clients)

    Rounded, so that rows in the same direction are the same, in whichever order they come.
    """
    exact = rows.double()
    products = exact @ exact.T  # (clients, clients)
    lengths = products.diagonal().sqrt().clamp_min(NOTHING)
    return (products / lengths / lengths.unsqueeze(1)).round(decimals=12)


def middle(lengths: Tensor) -> Tensor:
    """The median; of an even number, between the two middles."""
    return lengths.quantile(0.5)


def shortening(lengths: Tensor, bound: Tensor | float) -> Tensor:
    """What brings rows of those lengths down to the bound.  (clients,) -> (clients,) 1 or less"""
    return torch.where(lengths > bound, bound / lengths.clamp_min(NOTHING), 1.0)


def scaled(rows: Tensor, factors: Tensor) -> Tensor:
    """Each row times its factor.  rows (clients, params), factors (clients,) -> like rows"""
    return (factors.detach().unsqueeze(1) * rows).to(rows.dtype)


def blended(rows: Tensor, shares: Tensor) -> Tensor:
    """Rows times their shares, added up.

    rows (clients, params), shares (clients,) or (sums, clients) -> (params,) or (sums, params)
    """
    return (shares.detach().double() @ rows.double()).to(rows.dtype)
