"""q-FedAvg. Li et al. 2020, arXiv:1905.10497, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory
from lab.interfaces.messages import ratio


class Qffl(Algorithm):
    """Clients with a larger loss count more, so that nobody is left behind.

    With D_i = L (w - y_i): w -= sum F_i^q D_i / sum h_i, h_i = q F_i^(q-1) |D_i|^2 + L F_i^q, for
    the loss F_i of the model that was sent, and L = 1 / local learning rate.  Both sums are over
    the clients whose update arrived.
    """

    kind: Literal["qffl"] = "qffl"
    source: ClassVar[str] = "Li et al. 2020, arXiv:1905.10497, algorithm 2"
    uniform: ClassVar[bool] = True
    needs_losses: ClassVar[bool] = True
    exposes: ClassVar[str] = "each client's loss"
    fairness: float = Field(1.0, ge=0, le=10, description="q: 0 is fedavg, more is fairer")

    def factors(self, report: CohortReport, memory: Memory) -> Tensor | None:
        """The mean of h_i is over all who were asked, so that updates keep their usual length."""
        powers = _losses(report) ** self.fairness  # F_i^q
        return powers / report.rate / self._heights(report).mean()

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        """The factors took the mean of h_i over all asked; only those who arrived count."""
        heights = self._heights(report)
        return model + ratio(heights.mean(), heights[report.arrived].mean()) * step, memory

    def _heights(self, report: CohortReport) -> Tensor:
        """h_i.  -> (clients,)"""
        q, steepness = self.fairness, 1 / report.rate  # L
        losses = _losses(report)
        squares = (steepness * report.rows).square().sum(dim=1)  # |D_i|^2
        return q * losses ** (q - 1) * squares + steepness * losses**q


def _losses(report: CohortReport) -> Tensor:
    """F_i, of which no power is infinite.  -> (clients,)"""
    assert report.losses is not None
    return report.losses.clamp_min(1e-10)
