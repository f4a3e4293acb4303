"""Partition by people: clients hold all data of some people; other people's data are left out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from lab.common.settings import SettingError
from lab.interfaces.data import DataSource, Partition


class People(Partition):
    """Gives each client all data of some people, for attacks that ask if a person took part."""

    kind: Literal["people"] = "people"
    title: ClassVar[str] = "By person"
    left_out: float = Field(
        0.0,
        ge=0,
        le=0.9,
        description="share of people, drawn at random, whose data no client holds",
    )

    @property
    def dealt(self) -> float:
        return 1 - self.left_out

    def check(self, source: DataSource, clients: int, examples: int) -> None:
        people = len(source.groups)
        if not people:
            raise SettingError(
                f"data.partition.kind people needs data with real owners, and {source.kind} has "
                "none: use data.source chat, or data.partition.kind iid"
            )
        kept = people - self._left(people)
        if clients > kept:
            raise SettingError(
                f"data.clients is {clients}, and of the {people} people of {source.kind} {kept} "
                f"take part: give 2 to {kept}"
            )

    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        """Deal out people; without owners, every example counts as a person of its own."""
        owners = np.arange(len(labels)) if groups is None else groups
        people = generator.permutation(np.unique(owners))
        kept = people[self._left(len(people)) :]
        return [np.flatnonzero(np.isin(owners, kept[client::clients])) for client in range(clients)]

    def _left(self, people: int) -> int:
        """Draw the people left out; a larger share only adds people to those of a smaller one."""
        return round(self.left_out * people)
