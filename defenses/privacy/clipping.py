"""Clip each client's update to a length. McMahan et al. 2018, arXiv:1710.06963, algorithm 1.

As a whole, or each layer to its part of the length (per-layer clipping there): a row is never
longer than the bound, and that is all that the guarantee asks.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.aggregation import UpdateTransform
from lab.interfaces.messages import Cohort


class Clip(UpdateTransform):
    """Shorten updates to `bound`: the sensitivity of their sum to one client."""

    kind: Literal["clip"] = "clip"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, algorithm 1"
    bound: float = Field(1.0, gt=0, description="longest update let through")
    per_layer: bool = Field(False, description="each layer by itself, to its part of the bound")

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """Every row comes out no longer than `bound`, each of M layers than bound / sqrt(M)."""
        if not (self.per_layer and cohort.layers):
            return _shortened(rows, self.bound)
        bound, layers = self.bound / len(cohort.layers) ** 0.5, rows.split(cohort.layers, dim=1)
        return torch.cat([_shortened(layer, bound) for layer in layers], dim=1)


def _shortened(rows: Tensor, bound: float) -> Tensor:
    """(clients, coordinates) -> (clients, coordinates)"""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (clients, 1)
    shortened: Tensor = rows * (bound / lengths.clamp_min(1e-12)).clamp_max(1)
    return shortened
