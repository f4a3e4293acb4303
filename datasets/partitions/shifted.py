"""What the splits share that deal examples out evenly and change what they are."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from datasets.partitions.iid import Iid
from lab.interfaces.data import Partition


class Shifted(Partition):
    """Who gets which examples says nothing; what becomes of them there is in `shift`."""

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        return Iid()(labels, groups, clients, generator)

    @abstractmethod
    def shift(
        self,
        client: int,
        inputs: Tensor,
        labels: Tensor,
        classes: int,
        stream: Callable[[int], np.random.Generator],
    ) -> tuple[Tensor, Tensor]: ...
