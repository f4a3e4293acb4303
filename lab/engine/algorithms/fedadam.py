"""FedAdam. Reddi et al. 2021, arXiv:2003.00295, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.adaptive_server_optimiser import Adaptive
from lab.interfaces.federated_algorithm import Memory


class FedAdam(Adaptive):
    """Divides the server's momentum by the usual size of each coordinate's step, as Adam does."""

    kind: Literal["fedadam"] = "fedadam"
    title: ClassVar[str] = "FedAdam"
    decay: float = Field(
        0.99,
        ge=0,
        le=0.9999,
        description="decay of the squared steps' average (beta 2 in the paper)",
    )
    bias_correction: bool = Field(
        False, description="correct the averages' bias as Kingma and Ba 2015 do; the paper does not"
    )

    def begin(self, clients: int, params: int) -> Memory:
        """Return the initial memory; with bias correction, v begins at 0."""
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
