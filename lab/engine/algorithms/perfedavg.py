"""Per-FedAvg, first order. Fallah et al. 2020, arXiv:2002.07948, algorithm 1 and section 5."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory


class PerFedAvg(Personal):
    """Trains a global model that one gradient step on a client's data improves most.

    Half of each batch takes the step; the other half measures the result.
    """

    kind: Literal["perfedavg"] = "perfedavg"
    title: ClassVar[str] = "Per-FedAvg"
    source: ClassVar[str] = "Fallah et al. 2020, arXiv:2002.07948, algorithm 1"
    ahead: float = Field(
        0.05, gt=0, le=10, description="step size of a client's own step (alpha in the paper)"
    )

    @property
    def unguarded(self) -> str:
        return "gradients along a step that no clipping bounds"

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        slopes = trainer.learn(LocalTask(sent, whole=True, stays=True)).rows / trainer.rate
        return LocalResult(
            trainer.learn(LocalTask(sent, ahead=self.ahead)).rows,
            self.keeping(trainer, sent + self.ahead * slopes, memory),
        )
