"""Influence: what part of the server's step each row made, by derivatives of the rule.

The weight of a row is how much the step moves with it, as in Hampel 1974, JASA 69, "The influence
curve and its role in robust estimation".  The share is Euler's allocation (Tasche 2007,
arXiv:0708.2542): of a rule that scales with its rows, the shares add up to the whole step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Influence:
    """What a step owes to each row.

    Weights add up to 1 where moving all rows moves the step as far.  Shares do where scaling all
    rows scales it as much; below 0 is a row that pulls against the step.
    """

    weight: Tensor  # (clients,) float64
    share: Tensor  # (clients,) float64


def influence(fold: Callable[[Tensor], Tensor], rows: Tensor) -> Influence:
    """Of each row in the step that `fold` makes of them, which autograd can go through.

    Whom a rule chooses counts as settled.  Where the rule has no derivative, or there is no step,
    the numbers are 0.  rows (clients, params), fold: (clients, params) -> (params,)
    """
    with torch.enable_grad():  # rounds are played without
        live = rows.detach().requires_grad_()
        step = fold(live)  # (params,)
    length = float(torch.linalg.vector_norm(step.detach(), dtype=torch.float64))
    direction = (step.detach().double() / length).to(step.dtype)  # (params,)

    def pulled(towards: Tensor) -> Tensor:
        """The derivative of <step, towards> by each row.  -> (clients, params)"""
        if not step.requires_grad:
            return torch.zeros_like(rows)
        (found,) = torch.autograd.grad(
            step, live, towards.to(step.dtype), retain_graph=True, materialize_grads=True
        )
        return found

    weight = pulled(torch.ones_like(step)).mean(dim=1, dtype=torch.float64)
    share = (pulled(direction) * rows).sum(dim=1, dtype=torch.float64) / length
    return Influence(weight.nan_to_num(0.0, 0.0, 0.0), share.nan_to_num(0.0, 0.0, 0.0))
