"""Algorithms whose last layers belong to each client: a local head on a common body."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lab.common.settings import SettingError
from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, Memory
from lab.models.network import Network


class Headed(Personal):
    """An algorithm with common first layers; each client's last layers never leave it."""

    common: ClassVar[bool] = False
    layers: int = Field(
        1, ge=1, le=3, description="number of last layers that stay with each client"
    )

    def check(self, network: Network) -> None:
        if self.layers >= len(network.trained):
            raise SettingError(
                f"training.algorithm.layers is {self.layers} and model.kind {network.model.kind} "
                f"has {len(network.trained)} layers, of which at least one must be common: "
                "give fewer layers, or use mlp, cnn or lenet"
            )

    def shared(self, network: Network) -> int:
        return network.places(self.layers)

    def own(
        self, model: Tensor, memory: Memory, clients: Sequence[int], network: Network
    ) -> Tensor | None:
        shared, mine = self.shared(network), memory["own"][list(clients)]
        return torch.cat([model[:shared].expand(len(mine), -1), mine[:, shared:]], dim=1)

    def begun(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> Tensor:
        """Return the initial models: common layers as sent, last ones as each client has them."""
        start = self.mine(trainer, sent, memory).clone()
        shared = self.shared(trainer.network)
        start[:, :shared] = sent[:shared]
        return start

    def done(
        self, trainer: CohortTrainer, start: Tensor, moved: Tensor, memory: Memory
    ) -> LocalResult:
        rows = moved[:, : self.shared(trainer.network)]
        return LocalResult(rows, self.keeping(trainer, start + moved, memory), starts=start)
