"""FedAdagrad. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.adaptive_server_optimiser import Adaptive


class FedAdagrad(Adaptive):
    """Scales the server's step by all past squared steps; coordinates that moved much slow down."""

    kind: Literal["fedadagrad"] = "fedadagrad"
    title: ClassVar[str] = "FedAdagrad"
    rate: float = Field(0.1, gt=0, le=10, description="learning rate of the server")
    momentum: float = Field(
        0.0, ge=0, le=0.999, description="share of the last step in the next one"
    )

    def measure(self, second: Tensor, square: Tensor) -> Tensor:
        return second + square
