"""Rules, rows and steps, which tests of rules share."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from defenses import AGGREGATION_RULES
from lab.interfaces.aggregation import AggregationContext, AggregationRule

SEEDS = st.integers(0, 10**6)
EQUAL = torch.ones(9)


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def column(*values: float) -> Tensor:
    """Clients with a single parameter each."""
    return torch.tensor(values, dtype=torch.float64).unsqueeze(1)


def rule(name: str, **settings: Any) -> AggregationRule:
    return AGGREGATION_RULES[name](**settings)


def expecting(name: str, faulty: int) -> AggregationRule:
    """The rule, told how many clients are malicious, where it is to be told."""
    return rule(
        name, **({"faulty": faulty} if "faulty" in AGGREGATION_RULES[name].model_fields else {})
    )


def aid_of(part: AggregationRule, rows: Tensor) -> AggregationContext:
    """The rows' median for an update of the server's own, where the rule needs one."""
    return (
        AggregationContext(root=rows.detach().quantile(0.5, dim=0))
        if part.public
        else AggregationContext()
    )


def stepped(part: AggregationRule, rows: Tensor, weights: Tensor | None = None) -> Tensor:
    return part(rows, torch.ones(len(rows)) if weights is None else weights, aid_of(part, rows))


def step(name: str, rows: Tensor, weights: Tensor | None = None, **settings: Any) -> Tensor:
    return stepped(rule(name, **settings), rows, weights)


def kept(part: AggregationRule, rows: Tensor) -> list[int]:
    """Who counts, by the rule's own word."""
    verdict = part.judge(rows, torch.ones(len(rows)), aid_of(part, rows))
    assert verdict is not None
    return [int(place) for place in verdict.kept.nonzero()]


def but(*names: str) -> list[str]:
    """All rules in the table except some, which need not be there."""
    return [name for name in AGGREGATION_RULES if name not in names]


# What each does not promise, because its paper has it do something else.
NORMED = ("fltrust", "flame", "rlr", "signguard")  # directions or lengths from the origin count
FREE = but(*NORMED)
ROBUST = but("mean", "geometric-median", *NORMED)
FAULTY = [name for name, part in AGGREGATION_RULES.items() if "faulty" in part.model_fields]
PICKY = ["krum", "multi-krum", "bulyan", "mda"]  # who is in is in whole

# Krum, n = 5 and f = 1, so two nearest others; scores .0725, .0325, .025, .0425, 189.15.
KRUM = column(0, 0.1, 0.25, 0.3, 10)


def median_of(rows: Tensor, *weights: float) -> Tensor:
    return step("geometric-median", rows.double(), torch.tensor(weights) if weights else None)
