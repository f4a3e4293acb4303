"""Bucketing: averages random groups before the rule. Karimireddy et al. 2022, arXiv:2006.09365."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.shared.norms import blended
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.interfaces.aggregation import PreAggregated, PreAggregator
from lab.interfaces.federated_algorithm import Memory
from lab.interfaces.messages import Cohort


class Bucketing(PreAggregator):
    """Replaces the updates by means of random buckets of `size`, which differ less.

    The buckets are drawn anew in every round.
    """

    kind: Literal["bucketing"] = "bucketing"
    title: ClassVar[str] = "Bucketing"
    source: ClassVar[str] = "Karimireddy, He and Jaggi 2022, arXiv:2006.09365, algorithm 1"
    fails: ClassVar[str] = "so many malicious clients that most buckets contain one"
    size: int = Field(
        2, ge=1, le=100, description="number of updates in a bucket; the last bucket may have fewer"
    )

    def prepare(
        self, rows: Tensor, weights: Tensor, cohort: Cohort, memory: Memory
    ) -> PreAggregated:
        """Give each bucket the total weight of its updates, so that the weighted mean of all stays.

        The paper has no weights; where they are equal, this is its plain mean.
        """
        drawn = random_stream(cohort.seed, self.kind, cohort.round).permutation(len(rows))
        inside = torch.zeros(self.leaves(len(rows)), len(rows), dtype=torch.float64)
        inside[torch.arange(len(rows)) // self.size, torch.from_numpy(drawn)] = 1.0
        shares = inside * weights.double()  # (buckets, rows)
        # Who all have no examples count alike among themselves.
        shares = torch.where(shares.sum(dim=1, keepdim=True) > 0, shares, inside)
        means = blended(rows, shares / shares.sum(dim=1, keepdim=True))  # (buckets, params)
        return PreAggregated(means, (inside @ weights.double()).to(weights.dtype))

    def leaves(self, rows: int) -> int:
        return -(-rows // self.size)

    def check(self, rows: int) -> None:
        if rows < self.size:
            raise SettingError(
                f"stages, kind {self.kind}: size is {self.size}, more than {rows} clients a "
                f"round: give {rows} at most"
            )
