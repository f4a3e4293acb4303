"""Rows, and what our rules make of them, which tests of peers' errors share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab.interfaces.aggregation import AggregationContext

Median = Callable[[Tensor, Tensor], Tensor]  # rows (clients, params), weights (clients,)


def rows_of(seed: int, clients: int = 11, params: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(clients, params, generator=generator, dtype=torch.float64)


def step(name: str, rows: Tensor, weights: Tensor | None = None, **settings: object) -> Tensor:
    rule = AGGREGATION_RULES[name].read(settings)
    return rule(rows, torch.ones(len(rows)) if weights is None else weights)


def kept(name: str, rows: Tensor, **settings: object) -> list[int]:
    verdict = (
        AGGREGATION_RULES[name]
        .read(settings)
        .judge(rows, torch.ones(len(rows)), AggregationContext())
    )
    assert verdict is not None
    return [int(place) for place in verdict.kept.nonzero()]
