"""Apportionment: whole numbers that sum to a total, by largest remainders (Hamilton 1792)."""

from __future__ import annotations

import torch
from torch import Tensor


def apportioned(weights: Tensor, total: int) -> Tensor:
    """weights (parts,), not all zero -> (parts,) int, nearest to their shares of the total"""
    wanted = weights.double() * (total / float(weights.sum()))
    counts = wanted.floor()
    rest = total - int(counts.sum())
    counts[(wanted - counts).argsort(descending=True, stable=True)[:rest]] += 1
    return counts.long()


def multiset(weights: Tensor, total: int) -> Tensor:
    """The places of the parts, each as often as it is apportioned.  -> (total,)"""
    return torch.arange(len(weights)).repeat_interleave(apportioned(weights, total))
