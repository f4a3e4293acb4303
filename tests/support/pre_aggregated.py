"""Rows, cohorts and prepared updates, which tests of preparations share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor

from defenses import PREPARATIONS
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort

SEEDS = st.integers(0, 10**6)
PLACED = tuple(name for name in PREPARATIONS if name != "bucketing")  # a row for every row


def rows_of(seed: int, clients: int = 9, params: int = 7) -> Tensor:
    return torch.randn(clients, params, generator=torch.Generator().manual_seed(seed))


def cohort_of(clients: Sequence[int], round: int = 1, seed: int = 0) -> Cohort:
    return Cohort(
        seed=seed,
        round=round,
        clients=tuple(clients),
        weights=torch.ones(len(clients)),
        malicious=torch.zeros(len(clients), dtype=torch.bool),
        lost=torch.zeros(len(clients), dtype=torch.bool),
        expected=float(len(clients)),
    )


def stage(name: str, **wanted: Any) -> PreAggregator:
    made = PREPARATIONS[name](**wanted)
    assert isinstance(made, PreAggregator)
    return made


def prepared(
    one: PreAggregator,
    rows: Tensor,
    weights: Tensor | None = None,
    cohort: Cohort | None = None,
    memory: Memory | None = None,
) -> PreAggregated:
    """In the first round of all, unless told otherwise."""
    clients, params = rows.shape
    return one.prepare(
        rows,
        torch.ones(clients) if weights is None else weights,
        cohort or cohort_of(range(clients)),
        one.begin(clients, params) if memory is None else memory,
    )
