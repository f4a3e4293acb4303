"""Robust learning rate: reverses disputed coordinates. Ozdayi et al. 2021, arXiv:2007.03767."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from defenses.aggregation.mean import Mean
from lab.common.settings import SettingError
from lab.interfaces.aggregation import NO_CONTEXT, AggregationContext, AggregationRule


class RobustRate(AggregationRule):
    """Takes the weighted mean; reverses coordinates on whose sign too few clients agree."""

    kind: Literal["rlr"] = "rlr"
    title: ClassVar[str] = "Robust learning rate"
    source: ClassVar[str] = "Ozdayi et al. 2021, AAAI, arXiv:2007.03767"
    fails: ClassVar[str] = "boosted updates, because it counts signs and limits no norm"
    threshold: int = Field(
        4,
        ge=0,
        le=1000,
        description="least surplus of one sign over the other that counts as agreement",
    )

    def __call__(
        self, rows: Tensor, weights: Tensor, aid: AggregationContext = NO_CONTEXT
    ) -> Tensor:
        """Limits no norm.  rows (clients, params) -> (params,)"""
        self.check(len(rows))
        surplus = rows.detach().sign().sum(dim=0).abs()  # (params,)
        mean = Mean()(rows, weights)
        return torch.where(surplus >= self.threshold, mean, -mean)

    def fewest(self) -> int:
        return max(1, self.threshold)

    def check(self, clients: int) -> None:
        if clients < self.threshold:
            raise SettingError(
                f"aggregation.rule.threshold is {self.threshold}, more than {clients} clients a "
                f"round can agree: give {clients} at most"
            )
