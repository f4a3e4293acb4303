"""FedPer. Arivazhagan et al. 2019, arXiv:1912.00818, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.engine.algorithms.shared.local_head import Headed
from lab.interfaces.federated_algorithm import CohortTrainer, LocalResult, LocalTask, Memory


class FedPer(Headed):
    """Each client keeps its own last layers and trains them together with the common layers."""

    kind: Literal["fedper"] = "fedper"
    title: ClassVar[str] = "FedPer"
    source: ClassVar[str] = "Arivazhagan et al. 2019, arXiv:1912.00818, algorithm 1"

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        start = self.begun(trainer, sent, memory)
        return self.done(trainer, start, trainer.learn(LocalTask(start)).rows, memory)
