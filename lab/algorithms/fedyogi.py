"""FedYogi. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.algorithms.adaptive import ahead, fresh, moved
from lab.parts import Algorithm
from lab.wire import Memory, Report


class FedYogi(Algorithm):
    """Adam, whose measure of a coordinate grows and shrinks by small steps only."""

    kind: Literal["fedyogi"] = "fedyogi"
    source: ClassVar[str] = "Reddi et al. 2021, arXiv:2003.00295, algorithm 2"
    rate: float = Field(0.03, gt=0, le=10, description="server learning rate")
    momentum: float = Field(0.9, ge=0, le=0.999, description="beta 1: share of the last step")
    decay: float = Field(0.99, ge=0, le=0.9999, description="beta 2: how long sizes count")
    floor: float = Field(1e-3, gt=0, le=1, description="tau: how far steps may be stretched")

    def begin(self, clients: int, params: int) -> Memory:
        return fresh(params, self.floor)

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: Report
    ) -> tuple[Tensor, Memory]:
        square, second = step.square(), memory["second"]
        second = second - (1 - self.decay) * square * (second - square).sign()
        memory = moved(memory, step, self.momentum, second)
        return model + ahead(memory, self.rate, self.floor), memory
