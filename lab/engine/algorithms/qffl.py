"""q-FedAvg. Li et al. 2020, arXiv:1905.10497, algorithm 2."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory
from lab.interfaces.messages import ratio


class Qffl(Algorithm):
    """Gives clients with a larger loss more weight, so that losses become more equal.

    With D_i = L (w - y_i): w -= sum F_i^q D_i / sum h_i, h_i = q F_i^(q-1) |D_i|^2 + L F_i^q, for
    the loss F_i of the model that was sent, and L = 1 / local learning rate.  Both sums are over
    the clients whose update arrived.
    """

    kind: Literal["qffl"] = "qffl"
    title: ClassVar[str] = "q-FedAvg"
    source: ClassVar[str] = "Li et al. 2020, arXiv:1905.10497, algorithm 2"
    uniform: ClassVar[bool] = True
    needs_losses: ClassVar[bool] = True
    exposes: ClassVar[str] = "each client's loss"
    fairness: float = Field(
        1.0, ge=0, le=10, description="fairness (q in the paper): 0 is FedAvg; larger is fairer"
    )

    def factors(self, report: CohortReport, memory: Memory) -> Tensor | None:
        """Return the factors; h_i is averaged over all who were asked, which keeps usual norms."""
        powers = _losses(report) ** self.fairness  # F_i^q
        return powers / report.rate / self._heights(report).mean()

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        """Step; the factors took the mean of h_i of all asked, but only arrived clients count."""
        heights = self._heights(report)
        return model + ratio(heights.mean(), heights[report.arrived].mean()) * step, memory

    def _heights(self, report: CohortReport) -> Tensor:
        """Return h_i.  -> (clients,)"""
        q, steepness = self.fairness, 1 / report.rate  # L
        losses = _losses(report)
        squares = (steepness * report.rows).square().sum(dim=1)  # |D_i|^2
        return q * losses ** (q - 1) * squares + steepness * losses**q


def _losses(report: CohortReport) -> Tensor:
    """Return F_i, bounded so that no power is infinite.  -> (clients,)"""
    assert report.losses is not None
    return report.losses.clamp_min(1e-10)
