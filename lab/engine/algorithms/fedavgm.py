"""Federated averaging with server momentum. Hsu et al. 2019, arXiv:1909.06335."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory


class FedAvgM(Algorithm):
    """The server keeps rolling: each step carries on a share of the one before."""

    kind: Literal["fedavgm"] = "fedavgm"
    source: ClassVar[str] = "Hsu et al. 2019, arXiv:1909.06335"
    rate: float = Field(1.0, gt=0, le=10, description="server learning rate")
    momentum: float = Field(0.9, ge=0, le=0.999, description="share of the last step; 0: fedavg")

    def begin(self, clients: int, params: int) -> Memory:
        return {"momentum": torch.zeros(params)}

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        rolling = self.momentum * memory["momentum"] + step
        return model + self.rate * rolling, {"momentum": rolling}
