"""IFCA. Ghosh et al. 2020, arXiv:2006.04088, algorithm 1, model averaging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.common.random_streams import random_stream
from lab.interfaces.federated_algorithm import (
    Algorithm,
    CohortReport,
    CohortTrainer,
    LocalResult,
    LocalTask,
    Memory,
)
from lab.models.network import Network


class Ifca(Algorithm):
    """Keeps several global models; each client trains the one with the lowest loss on its data.

    Where one model is asked for, it is the one that most clients whose update arrived have chosen.
    In
    the first round each client's losses are taken relative to the models' mean losses, which is
    ours:
    otherwise one model may win all clients before it has learnt anything.
    """

    kind: Literal["ifca"] = "ifca"
    title: ClassVar[str] = "IFCA"
    source: ClassVar[str] = "Ghosh et al. 2020, arXiv:2006.04088, algorithm 1"
    exposes: ClassVar[str] = "which model suits each client"
    common: ClassVar[bool] = False
    clusters: int = Field(2, ge=1, le=10, description="number of models to choose from")

    @property
    def unguarded(self) -> str:
        return "which model suits it best, without noise"

    @property
    def down(self) -> int:
        return self.clusters

    @property
    def models(self) -> int:
        return self.clusters

    def begin(self, clients: int, params: int) -> Memory:
        return {
            "models": torch.zeros(self.clusters, params),
            "begun": torch.zeros(1),
            "chosen": torch.zeros(clients),
        }

    def train(self, trainer: CohortTrainer, sent: Tensor, memory: Memory) -> LocalResult:
        fresh = not memory["begun"] or len(memory["models"]) != self.clusters
        models = self._first(trainer, sent) if fresh else memory["models"]
        losses = trainer.losses(models)  # (clients, models)
        if fresh:
            losses -= losses.mean(dim=0)  # no untrained model may win everybody by luck
        chosen = losses.argmin(dim=1)
        starts = models[chosen]
        of_all = memory["chosen"].clone()
        of_all[list(trainer.clients)] = chosen.float()
        kept = {"models": models, "begun": torch.ones(1), "chosen": of_all}
        return LocalResult(trainer.learn(LocalTask(starts)).rows, kept, starts, groups=chosen)

    def _first(self, trainer: CohortTrainer, sent: Tensor) -> Tensor:
        """Return the initial models: one as the experiment begins, the others drawn alike.

        -> (models, params)
        """
        others = [
            trainer.network.initial(random_stream(trainer.seed, "cluster", number))
            for number in range(1, self.clusters)
        ]
        return torch.stack([sent, *others])

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        assert report.local.groups is not None
        models = memory["models"] + step
        chosen = report.local.groups[report.arrived]
        most = torch.bincount(chosen, minlength=self.clusters).argmax()
        return models[most], {**memory, "models": models}

    def own(
        self, model: Tensor, memory: Memory, clients: Sequence[int], network: Network
    ) -> Tensor | None:
        return memory["models"][memory["chosen"][list(clients)].long()]
