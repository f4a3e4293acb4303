"""Centered clipping around the previous mean update. Karimireddy et al. 2021, arXiv:2012.10333."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.norms import lengths_of, scaled, shortening
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort


class CenteredClipping(PreAggregator):
    """Clips each update to a distance of `radius` from the previous round's mean update."""

    kind: Literal["centered-clipping"] = "centered-clipping"
    title: ClassVar[str] = "Centered clipping"
    source: ClassVar[str] = "Karimireddy, He and Jaggi 2021, arXiv:2012.10333, algorithm 1"
    fails: ClassVar[str] = "attackers who shift the centre a little in every round"
    radius: float = Field(
        10.0,
        gt=0,
        le=1e6,
        description="largest distance of an update from the centre (tau in the paper)",
    )
    iterations: int = Field(1, ge=1, le=20, description="how often the centre is moved in a round")

    def begin(self, clients: int, params: int) -> Memory:
        return {"centre": torch.zeros(params)}

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """Return clipped updates whose plain mean is the paper's v, the centre of the next round.

        Malicious updates move the centre by at most `iterations` times `radius` in a round.
        """
        exact, centre = rows.double(), memory["centre"].double()
        for _ in range(self.iterations):
            away = exact - centre  # (clients, params)
            factors = shortening(lengths_of(away), self.radius)  # (clients,)
            clipped = centre + scaled(away, factors)
            centre = clipped.mean(dim=0)
        kept = {"centre": centre.detach().to(memory["centre"].dtype)}
        return PreAggregated(clipped.to(rows.dtype), weights, kept, factors.detach())
