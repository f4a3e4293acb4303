"""SCAFFOLD. Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import (
    Algorithm,
    CohortReport,
    CohortTrainer,
    GradientCorrection,
    LocalResult,
    LocalTask,
    Memory,
)


class Scaffold(Algorithm):
    """Corrects each local step by the difference between the average gradient and the client's own.

    c is always the mean of all c_i: a client whose update was lost keeps its old c_i.
    """

    kind: Literal["scaffold"] = "scaffold"
    title: ClassVar[str] = "SCAFFOLD"
    source: ClassVar[str] = "Karimireddy et al. 2020, arXiv:1910.06378, algorithm 1"
    uniform: ClassVar[bool] = True
    keeps: ClassVar[int] = 1
    exposes: ClassVar[str] = "each client's control variate"
    rate: float = Field(1.0, gt=0, le=10, description="learning rate of the server; 1 as published")
    option: Literal["I", "II"] = Field(
        "II",
        description=(
            "how a client estimates its gradient c_i: at the received model (I), or from its path"
            " (II)"
        ),
    )

    @property
    def unguarded(self) -> str:
        return "a whole gradient, without noise" if self.option == "I" else ""

    @property
    def up(self) -> int:
        return 2

    @property
    def down(self) -> int:
        return 2

    def begin(self, clients: int, params: int) -> Memory:
        return {"c": torch.zeros(params), "c_i": torch.zeros(clients, params)}

    def drift(self, memory: Memory, clients: Sequence[int]) -> GradientCorrection:
        return GradientCorrection(push=memory["c"] - memory["c_i"][list(clients)])

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        local = super().train(trainer, sent, memory)
        if self.option == "II":
            return local
        return replace(
            local, gradients=-trainer.learn(LocalTask(sent, whole=True)).rows / trainer.rate
        )

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        trained = report.arrived & (report.steps > 0)  # (clients,)
        who = torch.tensor(report.clients)[trained]
        if report.local.gradients is not None:
            changes = report.local.gradients[trained] - memory["c_i"][who]
        else:
            paths = report.steps[trained].to(step.dtype).unsqueeze(1) * report.rate  # K eta
            # c_i+ - c_i = -c + (w - y) / (K eta)
            changes = -memory["c"] - report.rows[trained] / paths
        return model + self.rate * step, {
            "c": memory["c"] + changes.sum(dim=0) / report.everyone,
            "c_i": memory["c_i"].index_add(0, who, changes),
        }
