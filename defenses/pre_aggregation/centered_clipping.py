"""Centred clipping: shorten what leads away from the last step. Karimireddy et al. 2021, ICML."""

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
    """Pull updates to within `radius` of where the last round's mean ended."""

    kind: Literal["centered-clipping"] = "centered-clipping"
    source: ClassVar[str] = "Karimireddy, He and Jaggi 2021, arXiv:2012.10333, algorithm 1"
    fails: ClassVar[str] = "attackers who move its centre a little in every round"
    radius: float = Field(10.0, gt=0, le=1e6, description="furthest from the centre, tau")
    iterations: int = Field(1, ge=1, le=20, description="times that the centre moves in a round")

    def begin(self, clients: int, params: int) -> Memory:
        return {"centre": torch.zeros(params)}

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """The plain mean of what comes out is the paper's v, and the next round's centre.

        It is at most `iterations` times `radius` from the last one, whoever lies.
        """
        exact, centre = rows.double(), memory["centre"].double()
        for _ in range(self.iterations):
            away = exact - centre  # (clients, params)
            factors = shortening(lengths_of(away), self.radius)  # (clients,)
            clipped = centre + scaled(away, factors)
            centre = clipped.mean(dim=0)
        kept = {"centre": centre.detach().to(memory["centre"].dtype)}
        return PreAggregated(clipped.to(rows.dtype), weights, kept, factors.detach())
