"""The lower baseline: every client trains alone, no federation."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory
from lab.models.network import Network


class LocalOnly(Personal):
    """Trains every client on its own examples alone, without messages; a baseline."""

    kind: Literal["local-only"] = "local-only"
    title: ClassVar[str] = "Local training only"
    common: ClassVar[bool] = False
    talks: ClassVar[bool] = False

    def shared(self, network: Network) -> int:
        return 0

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        mine = self.mine(trainer, sent, memory)
        moved = trainer.learn(LocalTask(mine, stays=True)).rows
        return LocalResult(moved[:, :0], self.keeping(trainer, mine + moved, memory))
