"""Identically distributed clients: deal the shuffled examples out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from lab.interfaces.data import Partition


class Iid(Partition):
    """Everybody's data look alike: shuffled and dealt out evenly."""

    kind: Literal["iid"] = "iid"

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        return np.array_split(generator.permutation(len(labels)), clients)
