"""Quantity skew: clients hold very different amounts. Li et al. 2022, arXiv:2102.02079."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from lab.interfaces.data import Partition


class Quantity(Partition):
    """Gives client k examples in proportion to 1 / k^skew, so that a few hold most of the data."""

    kind: Literal["quantity"] = "quantity"
    title: ClassVar[str] = "Quantity skew"
    source: ClassVar[str] = "Li et al. 2022, arXiv:2102.02079, section 4; a power law instead"
    skew: float = Field(
        1.0, ge=0, le=3, description="0: all clients hold equally many; 1: Zipf's law"
    )

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        """Deal out the examples; every client gets at least one."""
        parts = np.arange(1, clients + 1) ** -self.skew
        spare = len(labels) - clients
        ends = np.rint(np.cumsum(parts / parts.sum()) * spare) + np.arange(1, clients + 1)
        order = generator.permutation(len(labels))
        return np.split(order, ends[:-1].astype(int))
