"""FedNova. Wang et al. 2020, arXiv:2007.07481, for local SGD without momentum."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.parts import Algorithm
from lab.wire import Memory, Report


class FedNova(Algorithm):
    """Whoever takes more local steps gets no louder voice: updates count by the step.

    d_i = update_i / tau_i; w += tau_eff sum p_i d_i, with tau_eff = sum p_i tau_i.
    """

    kind: Literal["fednova"] = "fednova"
    source: ClassVar[str] = "Wang et al. 2020, arXiv:2007.07481"
    exposes: ClassVar[str] = "how many steps each client takes, by which all are scaled"

    def factors(self, report: Report, memory: Memory) -> Tensor | None:
        steps = report.steps.float()  # tau_i
        shares = report.weights / report.weights.sum().clamp_min(1e-12)  # p_i
        return (shares * steps).sum() / steps.clamp_min(1)

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: Report
    ) -> tuple[Tensor, Memory]:
        return model + step, memory
