"""Pathological label skew. McMahan et al. 2017, arXiv:1602.05629, section 3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from lab.common.settings import SettingError
from lab.interfaces.data import DataSource, Partition


class Shards(Partition):
    """Sorts by label, cuts into shards and deals each client a few, so that it sees few classes."""

    kind: Literal["shards"] = "shards"
    title: ClassVar[str] = "Label shards"
    source: ClassVar[str] = "McMahan et al. 2017, arXiv:1602.05629, section 3"
    shards: int = Field(
        2,
        ge=1,
        le=100,
        description="number of shards of each client; most clients see at most that many classes",
    )

    def check(self, source: DataSource, clients: int, examples: int) -> None:
        if self.shards * clients > examples:
            raise SettingError(
                f"data.partition.shards is {self.shards}: {clients} clients would need "
                f"{self.shards * clients} shards and there are {examples} examples; give 1 to "
                f"{examples // clients}"
            )

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        shuffled = generator.permutation(len(labels))  # or equal labels would keep their order
        by_label = shuffled[np.argsort(labels[shuffled], kind="stable")]
        pieces = np.array_split(by_label, clients * self.shards)
        deal = generator.permutation(len(pieces)).reshape(clients, self.shards)
        return [np.concatenate([pieces[shard] for shard in hand]) for hand in deal]
