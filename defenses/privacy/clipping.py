"""Clipping of each client's update. McMahan et al. 2018, arXiv:1710.06963, algorithm 1.

An update is clipped as a whole, or each layer to its share of the bound (per-layer clipping in
the paper).  Either way an update is never longer than the bound, as the guarantee requires.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.aggregation import UpdateTransform
from lab.interfaces.messages import Cohort


class Clip(UpdateTransform):
    """Clips each update to the norm `bound`, which is the sensitivity of the sum to one client."""

    kind: Literal["clip"] = "clip"
    title: ClassVar[str] = "Update clipping"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, algorithm 1"
    bound: float = Field(
        1.0, gt=0, description="largest norm of an update; longer updates are scaled down to it"
    )
    per_layer: bool = Field(
        False, description="clip each layer by itself, to its share of the bound"
    )

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """Return rows no longer than `bound`; per layer, each of M layers than bound / sqrt(M)."""
        if not (self.per_layer and cohort.layers):
            return _shortened(rows, self.bound)
        bound, layers = self.bound / len(cohort.layers) ** 0.5, rows.split(cohort.layers, dim=1)
        return torch.cat([_shortened(layer, bound) for layer in layers], dim=1)


def _shortened(rows: Tensor, bound: float) -> Tensor:
    """Clip each row.  (clients, coordinates) -> (clients, coordinates)"""
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (clients, 1)
    shortened: Tensor = rows * (bound / lengths.clamp_min(1e-12)).clamp_max(1)
    return shortened
