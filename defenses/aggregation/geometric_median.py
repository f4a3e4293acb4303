"""Geometric median. Pillutla et al. 2022, arXiv:1912.13445 (RFA), solved exactly."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.fermat_point import COLUMNS, fermat
from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule


class GeometricMedian(AggregationRule):
    """Minimises the sum of distances to all updates; tolerates attackers below half the weight."""

    kind: Literal["geometric-median"] = "geometric-median"
    title: ClassVar[str] = "Geometric median"
    source: ClassVar[str] = "Pillutla et al. 2022, arXiv:1912.13445; Vardi and Zhang 2000, PNAS 97"
    fails: ClassVar[str] = (
        "malicious clients with half of the weight, and malicious updates within the honest spread"
    )
    weighted: bool = Field(
        True,
        description="weight each client by the number of examples that it reports, true or not",
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Returns zero if no client holds any example.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        weights = weights if self.weighted else torch.ones_like(weights)
        if not (weights > 0).any():
            return weights.to(rows.dtype) @ rows
        rows, weights = rows[weights > 0], weights[weights > 0]
        shares, settled = fermat(rows.detach(), weights)
        blocks = [shares @ block.double() for block in rows.split(COLUMNS, dim=1)]
        median = torch.cat(blocks)
        if rows.requires_grad and not settled:
            median = median.detach() + _following(median.detach(), rows, weights)
        return median.to(rows.dtype)


def _following(median: Tensor, rows: Tensor, weights: Tensor) -> Tensor:
    """Return zero that carries the median's gradient: Newton's step from the median, as rows move.

    The Hessian is s I - U' F U, for directions U, forces F and their sum s.  Therefore the size of
    the
    system to be solved is the number of clients, not of parameters.
    """
    ways = median - rows.double()
    lengths = torch.linalg.vector_norm(ways, dim=1, keepdim=True).clamp_min(1e-200)
    pull = weights.double() @ (ways / lengths)  # (params,)
    with torch.no_grad():
        units = ways / lengths  # (clients, params)
        forces = weights.double().unsqueeze(1) / lengths  # (clients, 1)
        total = forces.sum()
        within = total * torch.eye(len(rows), dtype=total.dtype) - forces * (units @ units.T)
    inside = torch.linalg.solve(within, forces.squeeze(1) * (units @ pull))  # (clients,)
    step: Tensor = (pull + units.T @ inside) / total
    return step.detach() - step
