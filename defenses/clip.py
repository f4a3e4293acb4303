"""Clip each client's update to a length. McMahan et al. 2018, arXiv:1710.06963, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.parts import Stage
from lab.wire import Cohort


class Clip(Stage):
    """Shorten updates to `bound`: the sensitivity of their sum to one client."""

    kind: Literal["clip"] = "clip"
    source: ClassVar[str] = "McMahan et al. 2018, arXiv:1710.06963, algorithm 1"
    bound: float = Field(1.0, gt=0, description="longest update let through")

    def __call__(self, rows: Tensor, cohort: Cohort) -> Tensor:
        """Every row comes out no longer than `bound`."""
        lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True)  # (clients, 1)
        clipped: Tensor = rows * (self.bound / lengths.clamp_min(1e-12)).clamp_max(1)
        return clipped
