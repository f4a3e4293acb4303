"""Fine-tuning: local adaptation of the common model. Yu et al. 2020, arXiv:2002.04758."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory


class FineTune(Personal):
    """Runs FedAvg; each client then trains the received model further for its own use."""

    kind: Literal["fine-tune"] = "fine-tune"
    title: ClassVar[str] = "Local fine-tuning"
    source: ClassVar[str] = "Yu et al. 2020, arXiv:2002.04758"
    epochs: int = Field(3, ge=1, le=100, description="number of epochs of a client's fine-tuning")

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        moved = trainer.learn(LocalTask(sent, epochs=self.epochs, stays=True)).rows
        return LocalResult(
            trainer.learn(LocalTask(sent)).rows, self.keeping(trainer, sent + moved, memory)
        )
