"""A federation of parabolas: its optimum is known, and in float64 limits are exact.

Client i minimises F_i(y) = a_i |y - b_i|^2 / 2 in few dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from lab.engine.algorithms import ALGORITHMS
from lab.interfaces.federated_algorithm import Algorithm, CohortReport, LocalResult, Memory


@dataclass(frozen=True, eq=False)
class Quadratics:
    """A federation of parabolas."""

    curves: Tensor  # (clients,) a_i
    centres: Tensor  # (clients, dimensions) b_i
    steps: tuple[int, ...]  # local steps of each client
    rate: float = 0.1

    @property
    def optimum(self) -> Tensor:
        """Of the plain mean of all F_i."""
        return self.curves @ self.centres / self.curves.sum()

    def losses(self, model: Tensor) -> Tensor:
        return self.curves * (model - self.centres).square().sum(dim=1) / 2

    def local(self, model: Tensor, clients: Sequence[int], pull: float, push: Tensor) -> Tensor:
        """As the pseudocode has it, a step at a time; clients side by side.  -> y - w"""
        chosen = list(clients)
        curves, centres = self.curves[chosen, None], self.centres[chosen]
        steps = torch.tensor(self.steps)[chosen, None]
        y = model.expand_as(centres)
        for step in range(int(steps.max())):
            slope = curves * (y - centres)
            moved = y - self.rate * (slope + push + pull * (y - model))
            y = torch.where(step < steps, moved, y)
        return y - model

    def rounds(
        self, algorithm: Algorithm, count: int, asked: Sequence[int] | None = None
    ) -> tuple[Tensor, Memory]:
        clients = tuple(range(len(self.curves)) if asked is None else asked)
        model = torch.zeros(self.centres.shape[1], dtype=torch.float64)
        memory: Memory = {
            name: value.double()
            for name, value in algorithm.begin(len(self.curves), len(model)).items()
        }
        for _ in range(count):
            drift = algorithm.drift(memory, clients)
            push = torch.zeros(len(clients), len(model)).double()
            push = push if drift.push is None else drift.push
            report = CohortReport(
                everyone=len(self.curves),
                clients=clients,
                arrived=torch.ones(len(clients), dtype=torch.bool),
                weights=torch.ones(len(clients)).double(),
                steps=torch.tensor([self.steps[client] for client in clients]),
                rows=self.local(model, clients, drift.pull, push),
                rate=self.rate,
                losses=self.losses(model)[list(clients)],
            )
            factors = algorithm.factors(report, memory)
            rows = report.rows if factors is None else report.rows * factors.unsqueeze(1)
            model, memory = algorithm(model, rows.mean(dim=0), memory, report)
        return model, memory

    def gap(self, algorithm: Algorithm, count: int = 600) -> float:
        """How far from the optimum it ends."""
        return float((self.rounds(algorithm, count)[0] - self.optimum).norm())


def quadratics(*steps: int) -> Quadratics:
    generator = torch.Generator().manual_seed(3)
    centres = torch.randn(len(steps), 5, generator=generator, dtype=torch.float64)
    curves = torch.tensor([0.3, 1.0, 2.0, 0.6], dtype=torch.float64)[: len(steps)]
    return Quadratics(curves, centres, steps)


EQUAL, UNEQUAL = quadratics(5, 5, 5, 5), quadratics(2, 5, 8, 11)


def made(kind: str, **settings: Any) -> Algorithm:
    return ALGORITHMS[kind].read(settings)


def report_of(rows: Tensor) -> CohortReport:
    clients = len(rows)
    return CohortReport(
        everyone=clients,
        clients=tuple(range(clients)),
        arrived=torch.ones(clients, dtype=torch.bool),
        weights=torch.ones(clients),
        steps=torch.ones(clients, dtype=torch.int64),
        rows=rows,
        rate=0.1,
        local=LocalResult(
            rows,
            {},
            starts=torch.zeros_like(rows),
            groups=torch.zeros(clients, dtype=torch.int64),
            stale=torch.zeros(clients),
            change=torch.zeros(rows.shape[1]),
        ),
    )
