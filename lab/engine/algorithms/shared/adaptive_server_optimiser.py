"""Adaptive server optimisers. Reddi et al. 2021, arXiv:2003.00295, algorithm 2.

m = beta_1 m + (1 - beta_1) D; v is updated by each optimiser's rule; w += eta m / (sqrt(v) + tau).
"""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory


class Adaptive(Algorithm):
    """A server optimiser that scales every coordinate's step by its own v."""

    source: ClassVar[str] = "Reddi et al. 2021, arXiv:2003.00295, algorithm 2"
    rate: float = Field(0.03, gt=0, le=10, description="learning rate of the server")
    momentum: float = Field(
        0.9,
        ge=0,
        le=0.999,
        description="share of the last step in the next one (beta 1 in the paper)",
    )
    floor: float = Field(
        1e-3, gt=0, le=1, description="added to the scale, which limits steps (tau in the paper)"
    )

    @abstractmethod
    def measure(self, second: Tensor, square: Tensor) -> Tensor:
        """Return the next v, from the last one and the square of the step."""

    def begin(self, clients: int, params: int) -> Memory:
        """Return the initial memory; v begins at tau^2, the least that the paper allows."""
        return {
            "first": torch.zeros(params),
            "second": torch.full((params,), self.floor**2),
            "rounds": torch.zeros(1),
        }

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        memory = {
            "first": self.momentum * memory["first"] + (1 - self.momentum) * step,
            "second": self.measure(memory["second"], step.square()),
            "rounds": memory["rounds"] + 1,
        }
        first, second = self.seen(memory)
        return model + self.rate * first / (second.sqrt() + self.floor), memory

    def seen(self, memory: Memory) -> tuple[Tensor, Tensor]:
        """Return m and v as the step uses them."""
        return memory["first"], memory["second"]
