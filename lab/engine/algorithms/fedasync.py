"""FedAsync. Xie et al. 2019, arXiv:1903.03934, algorithm 1, polynomial staleness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.asynchronous import Asynchronous
from lab.interfaces.federated_algorithm import CohortReport, GradientCorrection, Memory


class FedAsync(Asynchronous):
    """Mixes each arriving model into the global model at once, an older one with less weight.

    A round is one client's.  w = (1 - a) w + a y, with a = mix (1 + s)^-power for a model y that
    began s
    rounds ago.
    """

    kind: Literal["fedasync"] = "fedasync"
    title: ClassVar[str] = "FedAsync"
    source: ClassVar[str] = "Xie et al. 2019, arXiv:1903.03934, algorithm 1"
    mix: float = Field(
        0.6, gt=0, le=1, description="share of a fresh model in the mixture (alpha in the paper)"
    )
    power: float = Field(0.5, ge=0, le=5, description="how fast a model's share falls with its age")
    pull: float = Field(
        0.005,
        ge=0,
        le=10,
        description="strength of a penalty that keeps clients near the received model (rho)",
    )

    @property
    def awaits(self) -> int:
        return 1

    def drift(self, memory: Memory, clients: Sequence[int]) -> GradientCorrection:
        return GradientCorrection(pull=self.pull)

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        local = report.local
        assert local.starts is not None
        assert local.stale is not None
        share = self.mix * (1.0 + float(local.stale[0])) ** -self.power
        return model + share * (local.starts[0] + step - model), memory
