"""FoolsGold: slows clients whose updates resemble each other. Fung et al. 2020, RAID."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.norms import NOTHING, cosines_of, scaled
from lab.common.settings import SettingError
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort


class FoolsGold(PreAggregator):
    """Scales each update by a rate from 0 to 1, which is low for clients with similar histories."""

    kind: Literal["foolsgold"] = "foolsgold"
    title: ClassVar[str] = "FoolsGold"
    source: ClassVar[str] = "Fung, Yoon and Beschastnikh 2020, RAID, algorithm 1"
    fails: ClassVar[str] = (
        "a single attacker, attackers unlike one another, and boosted updates: it limits no norm"
    )
    by_client: ClassVar[bool] = True
    confidence: float = Field(
        1.0, gt=0, le=10, description="steepness of the rate (kappa in the paper)"
    )

    def begin(self, clients: int, params: int) -> Memory:
        return {"history": torch.zeros(clients, params)}

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """Compare the clients present by the sums of all their updates.  Limits no norm."""
        if len(rows) != len(cohort.clients):
            raise SettingError(
                f"stages, kind {self.kind}: {len(rows)} rows of {len(cohort.clients)} clients; it "
                "must know whose each is: put it before bucketing"
            )
        history, present = memory["history"].clone(), list(cohort.clients)
        most = torch.finfo(history.dtype).max  # wild updates add up to no more
        sums = (history[present] + rows.detach()).clamp(-most, most)  # (rows, params)
        history[present] = sums.to(history.dtype)
        rates = self._rates(sums)
        return PreAggregated(scaled(rows, rates), weights, {"history": history}, rates)

    def _rates(self, sums: Tensor) -> Tensor:
        """Return the rate of each client.  sums (rows, params) -> (rows,) from 0 to 1"""
        alike = cosines_of(sums).fill_diagonal_(0).clamp_min(0)  # (rows, rows)
        most = alike.amax(dim=1)
        # An honest client that looks a little like a sybil is pardoned: the sybil has a twin.
        pardon = most.unsqueeze(1) / most.clamp_min(NOTHING)  # (rows, rows)
        rates = 1 - (alike * pardon.clamp_max(1)).amax(dim=1)
        rates = (rates / rates.max().clamp_min(NOTHING)).clamp(0, 0.99)
        return (self.confidence * (rates.logit() + 0.5)).clamp(0, 1)
