"""FedAdagrad. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.adaptive_server_optimiser import Adaptive


class FedAdagrad(Adaptive):
    """Coordinates that have moved much move less from now on: steps add up and never shrink."""

    kind: Literal["fedadagrad"] = "fedadagrad"
    rate: float = Field(0.1, gt=0, le=10, description="server learning rate")
    momentum: float = Field(0.0, ge=0, le=0.999, description="share of the last step")

    def measure(self, second: Tensor, square: Tensor) -> Tensor:
        return second + square
