"""The upper baseline: all data on one machine, no federation."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from lab.interfaces.federated_algorithm import (
    Algorithm,
    CohortReport,
    CohortTrainer,
    LocalResult,
    Memory,
)


class Centralised(Algorithm):
    """Trains on all examples in one place with plain SGD; a baseline without federation.

    A round has as many epochs as a client's local training.
    """

    kind: Literal["centralised"] = "centralised"
    title: ClassVar[str] = "Centralised training"
    talks: ClassVar[bool] = False

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        rows = torch.zeros(len(trainer.clients), len(sent))
        return LocalResult(rows, memory, change=trainer.pooled(sent))

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        assert report.local.change is not None
        return model + report.local.change, memory
