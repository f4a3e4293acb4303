"""Further clients of a round, who bring an update of their own."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from lab.interfaces.messages import Cohort


@dataclass(frozen=True, eq=False)
class InjectedClients:
    """Further clients of a round, who bring an update: canaries of an audit."""

    clients: tuple[int, ...]  # numbered after all others
    rows: Tensor  # (guests, shared)
    expected: float  # the cohort's expected size with such guests

    def join(self, rows: Tensor, cohort: Cohort) -> tuple[Tensor, Cohort]:
        """Return what all bring together, and who they are."""
        absent = torch.zeros(len(self.clients), dtype=torch.bool)
        return torch.cat([rows, self.rows]), replace(
            cohort,
            clients=(*cohort.clients, *self.clients),
            weights=torch.cat([cohort.weights, torch.ones(len(self.clients))]),
            malicious=torch.cat([cohort.malicious, absent]),
            lost=torch.cat([cohort.lost, absent]),
            expected=self.expected,
            seen=None,
        )
