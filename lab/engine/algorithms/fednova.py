"""FedNova. Wang et al. 2020, arXiv:2007.07481, for local SGD without momentum."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor

from lab.interfaces.federated_algorithm import Algorithm, CohortReport, Memory
from lab.interfaces.messages import ratio


class FedNova(Algorithm):
    """Divides each update by its number of local steps: a client with more steps gains no weight.

    d_i = update_i / tau_i; w += tau_eff sum p_i d_i, with tau_eff = sum p_i tau_i over the clients
    whose update arrived.
    """

    kind: Literal["fednova"] = "fednova"
    title: ClassVar[str] = "FedNova"
    source: ClassVar[str] = "Wang et al. 2020, arXiv:2007.07481"
    exposes: ClassVar[str] = "how many steps each client takes, by which all are scaled"

    def factors(self, report: CohortReport, memory: Memory) -> Tensor | None:
        """Return tau_eff of all who were asked over tau_i, which keeps updates' usual norms."""
        return effective_steps(report, report.asked) / report.steps.clamp_min(1)

    def __call__(
        self, model: Tensor, step: Tensor, memory: Memory, report: CohortReport
    ) -> tuple[Tensor, Memory]:
        """Step; the factors took tau_eff of all asked, but only clients that arrived count."""
        correction = ratio(
            effective_steps(report, report.arrived), effective_steps(report, report.asked)
        )
        return model + correction * step, memory


def effective_steps(report: CohortReport, counted: Tensor) -> Tensor:
    """Return tau_eff = sum p_i tau_i, where p_i are the shares of those that count.

    counted (clients,)
    """
    weights = report.weights * counted
    return ratio((weights * report.steps).sum(), weights.sum())
