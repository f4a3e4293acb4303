"""What the algorithms share in which every client keeps a model of its own.

Own models never travel.  Each is as it was after the last round that its client took part in.
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
    """Federated averaging, beside which clients train models of their own."""

    keeps: ClassVar[int] = 1

    def begin(self, clients: int, params: int) -> Memory:
        return {"own": torch.zeros(clients, params), "begun": torch.zeros(clients)}

    @abstractmethod
    def train(self, crew: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult: ...

    def mine(self, crew: CohortTrainer, sent: Tensor, memory: Memory) -> Tensor:
        """The crew's own models; who has none yet begins with the one sent."""
        who = list(crew.clients)
        begun = memory["begun"][who].bool().unsqueeze(1)
        return torch.where(begun, memory["own"][who], sent)

    def keeping(self, crew: CohortTrainer, models: Tensor, memory: Memory) -> Memory:
        """The memory in which these are the crew's own models."""
        own, begun = memory["own"].clone(), memory["begun"].clone()
        own[list(crew.clients)], begun[list(crew.clients)] = models, 1.0
        return {**memory, "own": own, "begun": begun}

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        return model + step, memory

    def own(
        self, model: Tensor, memory: Memory, clients: Sequence[int], network: Network
    ) -> Tensor | None:
        return memory["own"][list(clients)]
