"""Fine-tuning: local adaptation of the common model. Yu et al. 2020, arXiv:2002.04758."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory


class FineTune(Personal):
    """Federated averaging; every client trains the model that it was sent on for its own use."""

    kind: Literal["fine-tune"] = "fine-tune"
    source: ClassVar[str] = "Yu et al. 2020, arXiv:2002.04758"
    epochs: int = Field(3, ge=1, le=100, description="passes over a client's data for its own use")

    def train(self, crew: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        moved = crew.learn(LocalTask(sent, epochs=self.epochs, stays=True)).rows
        return LocalResult(
            crew.learn(LocalTask(sent)).rows, self.keeping(crew, sent + moved, memory)
        )
