"""The base of partitions that deal examples out evenly and then change them."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from torch import Tensor

from datasets.partitions.iid import Iid
from lab.interfaces.data import Partition


class Shifted(Partition):
    """A partition that deals examples out evenly; `shift` changes a client's examples."""

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
