"""FedDyn. Acar et al. 2021, arXiv:2111.04263, algorithm 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, GradientCorrection, Memory


class FedDyn(Algorithm):
    """Changes each client's objective from round to round until the clients' optima agree.

    The server computes its h from the step alone, so updates may stay hidden in their sum.  Where
    client-level privacy hides how many took part, h counts as many as are expected.
    """

    kind: Literal["feddyn"] = "feddyn"
    title: ClassVar[str] = "FedDyn"
    source: ClassVar[str] = "Acar et al. 2021, arXiv:2111.04263, algorithm 1"
    uniform: ClassVar[bool] = True
    keeps: ClassVar[int] = 1
    pull: float = Field(
        0.1, gt=0, le=10, description="strength of the regulariser (alpha in the paper)"
    )

    def begin(self, clients: int, params: int) -> Memory:
        return {"h": torch.zeros(params), "g_i": torch.zeros(clients, params)}

    def drift(self, memory: Memory, clients: Sequence[int]) -> GradientCorrection:
        return GradientCorrection(pull=self.pull, push=-memory["g_i"][list(clients)])

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        clients = torch.tensor(report.clients, dtype=torch.int64)
        who, rows = clients[report.arrived], report.rows[report.arrived]
        share = report.counted / report.everyone
        h = memory["h"] - self.pull * share * step
        g_i = memory["g_i"].index_add(0, who, -self.pull * rows)
        return model + step - h / self.pull, {"h": h, "g_i": g_i}
