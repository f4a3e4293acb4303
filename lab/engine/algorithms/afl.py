"""Agnostic federated learning. Mohri et al. 2019, arXiv:1902.00146."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory
from lab.interfaces.messages import ratio


class Afl(Algorithm):
    """Weights clients by their losses round after round, to minimise the loss of the worst mixture.

    lambda moves up the gradient of sum lambda_i F_i, which is F, and back onto the simplex.  Only
    clients whose update arrived count, with lambda_i over their sum of it.
    """

    kind: Literal["afl"] = "afl"
    title: ClassVar[str] = "Agnostic federated learning"
    source: ClassVar[str] = "Mohri et al. 2019, arXiv:1902.00146"
    uniform: ClassVar[bool] = True
    needs_losses: ClassVar[bool] = True
    exposes: ClassVar[str] = "each client's loss"
    ascent: float = Field(
        0.01, ge=0, le=10, description="step size of the clients' weights; 0: FedAvg"
    )

    def begin(self, clients: int, params: int) -> Memory:
        return {"mixture": torch.full((clients,), 1 / clients)}

    def factors(self, report: CohortReport, memory: Memory) -> Tensor | None:
        """Return lambda_i over the mean of all who were asked, which keeps updates' usual norms."""
        mine = memory["mixture"][list(report.clients)]
        return ratio(mine, mine.mean())

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        """Step; the factors took the mean lambda of all asked, but only arrived clients count."""
        assert report.losses is not None
        who = torch.tensor(report.clients)[report.arrived]
        losses = report.losses[report.arrived].nan_to_num(posinf=1e6)
        mixture = memory["mixture"]
        correction = ratio(mixture[list(report.clients)].mean(), mixture[who].mean())
        lifted = mixture.index_add(0, who, self.ascent * losses)
        return model + correction * step, {"mixture": onto_the_simplex(lifted)}


def onto_the_simplex(point: Tensor) -> Tensor:
    """Return the nearest point whose coordinates are not negative and sum to 1."""
    falling = point.sort(descending=True).values
    excess = (falling.cumsum(0) - 1) / torch.arange(1, len(point) + 1)  # by how many stay positive
    last = int((falling > excess).nonzero().max())
    return (point - excess[last]).clamp_min(0)
