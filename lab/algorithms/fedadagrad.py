"""FedAdagrad. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.algorithms.adaptive import ahead, fresh, moved
from lab.parts import Algorithm
from lab.wire import Memory, Report


class FedAdagrad(Algorithm):
    """Coordinates that have moved much move less from now on: steps add up and never shrink."""

    kind: Literal["fedadagrad"] = "fedadagrad"
    source: ClassVar[str] = "Reddi et al. 2021, arXiv:2003.00295, algorithm 2"
    rate: float = Field(0.1, gt=0, le=10, description="server learning rate")
    momentum: float = Field(0.0, ge=0, le=0.999, description="share of the last step")
    floor: float = Field(1e-3, gt=0, le=1, description="tau: how far steps may be stretched")

    def begin(self, clients: int, params: int) -> Memory:
        return fresh(params, self.floor)

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: Report
    ) -> tuple[Tensor, Memory]:
        memory = moved(memory, step, self.momentum, memory["second"] + step.square())
        return model + ahead(memory, self.rate, self.floor), memory
