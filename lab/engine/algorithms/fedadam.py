"""FedAdam. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.adaptive_server_optimiser import Adaptive
from lab.interfaces.federated_algorithm import Memory


class FedAdam(Adaptive):
    """Every coordinate moves in its own measure: by its momentum over its usual size."""

    kind: Literal["fedadam"] = "fedadam"
    decay: float = Field(0.99, ge=0, le=0.9999, description="beta 2: how long sizes count")
    bias_correction: bool = Field(
        False, description="as Kingma and Ba 2015 and some libraries; the paper has none"
    )

    def begin(self, clients: int, params: int) -> Memory:
        """Corrected for its bias, v begins at 0."""
        memory = super().begin(clients, params)
        return {**memory, "second": torch.zeros(params)} if self.bias_correction else memory

    def measure(self, second: Tensor, square: Tensor) -> Tensor:
        return self.decay * second + (1 - self.decay) * square

    def seen(self, memory: Memory) -> tuple[Tensor, Tensor]:
        first, second = super().seen(memory)
        if not self.bias_correction:
            return first, second
        rounds = float(memory["rounds"])
        return first / (1 - self.momentum**rounds), second / (1 - self.decay**rounds)
