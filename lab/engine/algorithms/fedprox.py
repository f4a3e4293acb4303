"""FedProx. Li et al. 2020, arXiv:1812.06127, algorithm 2."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, GradientCorrection, Memory


class FedProx(Algorithm):
    """Adds a penalty that keeps each client's model near the model it received."""

    kind: Literal["fedprox"] = "fedprox"
    title: ClassVar[str] = "FedProx"
    source: ClassVar[str] = "Li et al. 2020, arXiv:1812.06127, algorithm 2"
    pull: float = Field(
        0.1, ge=0, le=10, description="strength of the penalty (mu in the paper); 0: FedAvg"
    )

    def drift(self, memory: Memory, clients: Sequence[int]) -> GradientCorrection:
        return GradientCorrection(pull=self.pull)

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        return model + step, memory
