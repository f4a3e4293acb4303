"""Independent and identically distributed (IID) clients."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from lab.interfaces.data import Partition


class Iid(Partition):
    """Shuffles the examples and deals them out evenly, so that all clients' data are alike."""

    kind: Literal["iid"] = "iid"
    title: ClassVar[str] = "IID"

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        return np.array_split(generator.permutation(len(labels)), clients)
