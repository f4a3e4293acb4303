"""Concept shift: the same inputs mean different things to different clients.

Kairouz et al. 2021, arXiv:1912.04977, section 3.1: same features, different label.  Clusters of
clients with permuted labels: Sattler et al. 2020, arXiv:1910.01991.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from datasets.partitions.shifted import Shifted
from lab.common.settings import SettingError
from lab.interfaces.data import DataSource


class Concept(Shifted):
    """Same inputs, other meanings: each cluster of clients exchanges the labels in its own way.

    Client k is in cluster k mod clusters.  No label means the same in two clusters, and test
    examples mean what they mean in cluster 0, so one model for all cannot be right for all.
    """

    kind: Literal["concept"] = "concept"
    source: ClassVar[str] = "Kairouz et al. 2021, arXiv:1912.04977, section 3.1"
    clusters: int = Field(2, ge=2, le=10, description="groups of clients that mean the same")

    def check(self, source: DataSource, clients: int, examples: int) -> None:
        classes = len(source.classes)
        if self.clusters > classes:
            raise SettingError(
                f"data.partition.clusters is {self.clusters}, more than the {classes} classes of "
                f"{source.kind}: give 2" + (f" to {classes}" if classes > 2 else "")
            )

    def shift(
        self,
        client: int,
        inputs: Tensor,
        labels: Tensor,
        classes: int,
        stream: Callable[[int], np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """The labels stand in a circle, in one drawn order, and each becomes a later one."""
        circle = stream(0).permutation(classes)  # the same for all clients
        meanings = np.empty_like(circle)  # (classes,)
        meanings[circle] = np.roll(circle, -(client % self.clusters))
        return inputs, torch.from_numpy(meanings)[labels]
