"""Personalised algorithms, in which every client keeps its own model.

Own models are never sent.  Each is as it was after the last round that its client took part in.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from lab.interfaces.federated_algorithm import (
    Algorithm,
    CohortReport,
    CohortTrainer,
    LocalResult,
    Memory,
)
from lab.models.network import Network


class Personal(Algorithm):
    """Federated averaging in which clients also train their own models."""

    keeps: ClassVar[int] = 1

    def begin(self, clients: int, params: int) -> Memory:
        return {"own": torch.zeros(clients, params), "begun": torch.zeros(clients)}

    @abstractmethod
    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult: ...

    def mine(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> Tensor:
        """Return the cohort's own models; a client without one begins with the received model."""
        who = list(trainer.clients)
        begun = memory["begun"][who].bool().unsqueeze(1)
        return torch.where(begun, memory["own"][who], sent)

    def keeping(self, trainer: CohortTrainer, models: Tensor, memory: Memory) -> Memory:
        """Return the memory with these own models of the cohort."""
        own, begun = memory["own"].clone(), memory["begun"].clone()
        own[list(trainer.clients)], begun[list(trainer.clients)] = models, 1.0
        return {**memory, "own": own, "begun": begun}

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        return model + step, memory

    def own(
        self, model: Tensor, memory: Memory, clients: Sequence[int], network: Network
    ) -> Tensor | None:
        return memory["own"][list(clients)]
