"""Federated averaging with server momentum. Hsu et al. 2019, arXiv:1909.06335."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory


class FedAvgM(Algorithm):
    """Adds momentum at the server: each step includes a share of the previous one."""

    kind: Literal["fedavgm"] = "fedavgm"
    title: ClassVar[str] = "FedAvgM"
    source: ClassVar[str] = "Hsu et al. 2019, arXiv:1909.06335"
    rate: float = Field(1.0, gt=0, le=10, description="learning rate of the server")
    momentum: float = Field(
        0.9, ge=0, le=0.999, description="share of the last step in the next one; 0: FedAvg"
    )

    def begin(self, clients: int, params: int) -> Memory:
        return {"momentum": torch.zeros(params)}

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        rolling = self.momentum * memory["momentum"] + step
        return model + self.rate * rolling, {"momentum": rolling}
