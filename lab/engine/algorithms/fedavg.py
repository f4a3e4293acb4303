"""Federated averaging. McMahan et al. 2017, arXiv:1602.05629, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory


class FedAvg(Algorithm):
    """Adds the average update; with one full-batch step a client this is gradient descent."""

    kind: Literal["fedavg"] = "fedavg"
    title: ClassVar[str] = "FedAvg"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, algorithm 1"
    rate: float = Field(1.0, gt=0, le=10, description="learning rate of the server; 1 as published")

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        return model + self.rate * step, memory
