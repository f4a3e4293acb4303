"""Asynchronous algorithms: the server waits for no client, so updates start from old models."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from lab.interfaces.federated_algorithm import (
    Algorithm,
    CohortTrainer,
    LocalResult,
    LocalTask,
    Memory,
)


class Asynchronous(Algorithm):
    """An algorithm whose server keeps every model that some client still trains."""

    asynchronous: ClassVar[bool] = True
    uniform: ClassVar[bool] = True
    exposes: ClassVar[str] = "each update by itself, as it comes"

    def begin(self, clients: int, params: int) -> Memory:
        return {"models": torch.zeros(0, params), "versions": torch.zeros(0)}

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        versions = [*memory["versions"].tolist(), trainer.round - 1]
        models = torch.cat([memory["models"], sent.unsqueeze(0)])
        starts = models[[versions.index(version) for version in trainer.versions]]
        rows = trainer.learn(LocalTask(starts, self.drift(memory, trainer.clients))).rows
        needed = [place for place, version in enumerate(versions) if version in trainer.waiting]
        kept = {"models": models[needed], "versions": torch.tensor(versions)[needed]}
        stale = trainer.round - 1 - torch.tensor(trainer.versions)
        return LocalResult(rows, kept, starts, stale=stale)
