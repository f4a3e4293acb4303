"""The natural partition: one client for each real owner of data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np

from lab.common.settings import SettingError
from lab.interfaces.data import DataSource, Partition


class Natural(Partition):
    """Gives each real owner of data, such as a hospital, one client."""

    kind: Literal["natural"] = "natural"
    title: ClassVar[str] = "Natural owners"

    def check(self, source: DataSource, clients: int, examples: int) -> None:
        if not source.groups:
            raise SettingError(
                f"data.partition.kind natural needs data with real owners, and {source.kind} has "
                "none: use data.source heart, or data.partition.kind dirichlet"
            )
        if clients != len(source.groups):
            raise SettingError(
                f"data.clients is {clients}, and {source.kind} has {len(source.groups)} owners: "
                f"give {len(source.groups)}"
            )

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        owners = np.zeros(0) if groups is None else groups
        return [np.flatnonzero(owners == client) for client in range(clients)]
