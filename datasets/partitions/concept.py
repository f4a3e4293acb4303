"""Concept shift: labels mean different things for different clients.

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
    """Permutes the labels differently in each cluster of clients, but leaves the inputs unchanged.

    Client k is in cluster k mod clusters.  No label has the same meaning in two clusters.  Test
    examples
    have the meaning of cluster 0, so one model for all clients cannot be right for all.
    """

    kind: Literal["concept"] = "concept"
    title: ClassVar[str] = "Concept shift"
    source: ClassVar[str] = "Kairouz et al. 2021, arXiv:1912.04977, section 3.1"
    clusters: int = Field(
        2,
        ge=2,
        le=10,
        description="number of clusters; clients of one cluster share their labels' meaning",
    )

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
        """Rotate the labels along a circle in random order, by another amount in each cluster."""
        circle = stream(0).permutation(classes)  # the same for all clients
        meanings = np.empty_like(circle)  # (classes,)
        meanings[circle] = np.roll(circle, -(client % self.clusters))
        return inputs, torch.from_numpy(meanings)[labels]
