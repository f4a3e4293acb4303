"""FedYogi. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.adaptive_server_optimiser import Adaptive


class FedYogi(Adaptive):
    """Adam, whose measure of a coordinate grows and shrinks by small steps only."""

    kind: Literal["fedyogi"] = "fedyogi"
    decay: float = Field(0.99, ge=0, le=0.9999, description="beta 2: how long sizes count")

    def measure(self, second: Tensor, square: Tensor) -> Tensor:
        return second - (1 - self.decay) * square * (second - square).sign()
