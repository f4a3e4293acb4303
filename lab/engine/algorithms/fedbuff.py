"""FedBuff. Nguyen et al. 2022, arXiv:2106.06639, algorithm 1."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor

from lab.engine.algorithms.shared.asynchronous import Asynchronous
from lab.interfaces.federated_algorithm import CohortReport, Memory


class FedBuff(Asynchronous):
    """The server steps as soon as a few updates have arrived; older updates count for less."""

    kind: Literal["fedbuff"] = "fedbuff"
    title: ClassVar[str] = "FedBuff"
    source: ClassVar[str] = "Nguyen et al. 2022, arXiv:2106.06639, algorithm 1"
    buffer: int = Field(
        10,
        ge=1,
        le=1000,
        description="number of updates that the server waits for (K in the paper)",
    )
    rate: float = Field(1.0, gt=0, le=10, description="learning rate of the server")
    power: float = Field(
        0.5, ge=0, le=5, description="an update that is s rounds old has weight (1 + s)^-power"
    )

    @property
    def awaits(self) -> int:
        return self.buffer

    def factors(self, report: CohortReport, memory: Memory) -> Tensor | None:
        assert report.local.stale is not None
        return (1.0 + report.local.stale) ** -self.power

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        return model + self.rate * step, memory
