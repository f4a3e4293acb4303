"""Ditto. Li et al. 2021, arXiv:2012.04221, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.personalised import Personal
from lab.interfaces.federated_algorithm import (
    CohortTrainer,
    GradientCorrection,
    LocalResult,
    LocalTask,
    Memory,
)


class Ditto(Personal):
    """Each client also trains its own model, which a penalty keeps near the global model."""

    kind: Literal["ditto"] = "ditto"
    title: ClassVar[str] = "Ditto"
    source: ClassVar[str] = "Li et al. 2021, arXiv:2012.04221, algorithm 1"
    pull: float = Field(
        0.5,
        ge=0,
        le=10,
        description="strength of the penalty (lambda in the paper); 0: clients train alone",
    )

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        mine = self.mine(trainer, sent, memory)
        moved = trainer.learn(
            LocalTask(mine, GradientCorrection(self.pull), anchor=sent, stays=True)
        ).rows
        return LocalResult(
            trainer.learn(LocalTask(sent)).rows, self.keeping(trainer, mine + moved, memory)
        )
