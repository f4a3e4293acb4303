"""FedRep. Collins et al. 2021, arXiv:2102.07078, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.local_head import Headed
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory


class FedRep(Headed):
    """Each client keeps its own last layers and trains them before the common layers."""

    kind: Literal["fedrep"] = "fedrep"
    title: ClassVar[str] = "FedRep"
    source: ClassVar[str] = "Collins et al. 2021, arXiv:2102.07078, algorithm 1"
    epochs: int = Field(5, ge=1, le=100, description="number of epochs for a client's own layers")

    @property
    def unguarded(self) -> str:
        return "gradients at layers that were fitted to its examples without noise"

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        start = self.begun(trainer, sent, memory)
        names = [layer.name for layer in trainer.network.trained]
        first, last = names[: -self.layers], names[-self.layers :]
        fitted = trainer.learn(
            LocalTask(start, layers=tuple(last), epochs=self.epochs, stays=True)
        ).rows
        moved = trainer.learn(LocalTask(start + fitted, layers=tuple(first))).rows
        return self.done(trainer, start, fitted + moved, memory)
