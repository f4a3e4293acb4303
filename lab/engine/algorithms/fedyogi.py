"""FedYogi. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.adaptive_server_optimiser import Adaptive


class FedYogi(Adaptive):
    """Works as FedAdam, but changes the scale of each coordinate only in small steps."""

    kind: Literal["fedyogi"] = "fedyogi"
    title: ClassVar[str] = "FedYogi"
    decay: float = Field(
        0.99, ge=0, le=0.9999, description="beta 2 in the paper: the scale changes by 1 - decay"
    )

    def measure(self, second: Tensor, square: Tensor) -> Tensor:
        return second - (1 - self.decay) * square * (second - square).sign()
