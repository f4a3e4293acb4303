"""APFL. Deng et al. 2020, arXiv:2003.13461, algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import (
    CohortTrainer,
    LocalResult,
    LocalTask,
    Memory,
    ModelMixture,
)
from lab.models.network import Network


class Apfl(Personal):
    """Mixes the global model with each client's own; clients can learn the share of each."""

    kind: Literal["apfl"] = "apfl"
    title: ClassVar[str] = "APFL"
    source: ClassVar[str] = "Deng et al. 2020, arXiv:2003.13461, algorithm 1"
    share: float = Field(
        0.5,
        ge=0,
        le=1,
        description="share of the client's own model at the start (alpha in the paper)",
    )
    adaptive: bool = Field(True, description="let each client learn its share")

    def begin(self, clients: int, params: int) -> Memory:
        share = torch.full((clients,), self.share)
        return {**super().begin(clients, params), "share": share}

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        who, mine = list(trainer.clients), self.mine(trainer, sent, memory)
        mixture = ModelMixture(mine, memory["share"][who], self.adaptive)
        found = trainer.learn(LocalTask(sent, mixture=mixture))
        assert found.mixture is not None
        share = memory["share"].clone()
        share[who] = found.mixture.share
        return LocalResult(
            found.rows, {**self.keeping(trainer, found.mixture.own, memory), "share": share}
        )

    def own(
        self, model: Tensor, memory: Memory, clients: Sequence[int], network: Network
    ) -> Tensor | None:
        who = list(clients)
        return model + memory["share"][who].unsqueeze(1) * (memory["own"][who] - model)
