"""The baseline below: every client alone with its data, no federation."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory
from lab.models.network import Network


class LocalOnly(Personal):
    """A baseline: every client trains on its own examples alone, and nothing is ever sent."""

    kind: Literal["local-only"] = "local-only"
    common: ClassVar[bool] = False
    talks: ClassVar[bool] = False

    def shared(self, network: Network) -> int:
        return 0

    def train(self, crew: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        mine = self.mine(crew, sent, memory)
        moved = crew.learn(LocalTask(mine, stays=True)).rows
        return LocalResult(moved[:, :0], self.keeping(crew, mine + moved, memory))
