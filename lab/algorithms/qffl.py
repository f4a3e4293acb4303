"""q-FedAvg. Li et al. 2020, arXiv:1905.10497, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.parts import Algorithm
from lab.wire import Memory, Report


class Qffl(Algorithm):
    """Clients with a larger loss count more, so that nobody is left behind.

    With D_i = L (w - y_i): w -= sum F_i^q D_i / sum h_i, h_i = q F_i^(q-1) |D_i|^2 + L F_i^q, for
    the loss F_i of the model that was sent, and L = 1 / local learning rate.
    """

    kind: Literal["qffl"] = "qffl"
    source: ClassVar[str] = "Li et al. 2020, arXiv:1905.10497, algorithm 2"
    uniform: ClassVar[bool] = True
    needs_losses: ClassVar[bool] = True
    exposes: ClassVar[str] = "each client's loss"
    fairness: float = Field(1.0, ge=0, le=10, description="q: 0 is fedavg, more is fairer")

    def factors(self, report: Report, memory: Memory) -> Tensor | None:
        assert report.losses is not None
        q, steepness = self.fairness, 1 / report.rate  # L
        losses = report.losses.clamp_min(1e-10)
        squares = (steepness * report.rows).square().sum(dim=1)  # |D_i|^2
        heights = q * losses ** (q - 1) * squares + steepness * losses**q  # h_i
        return steepness * losses**q / heights.mean()

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: Report
    ) -> tuple[Tensor, Memory]:
        return model + step, memory
