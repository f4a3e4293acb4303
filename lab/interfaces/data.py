"""Federation: who holds which examples.  One pool and an index, never copies of the data."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from lab.common.settings import Component
from lab.interfaces.columns import Column
from lab.models.architectures import Modality
from lab.models.inputs import as_floats, like
from lab.models.layers import Shape


@dataclass(frozen=True, eq=False)
class Examples:
    """A data set as its source gives it.  Inputs are bytes (pictures) or floats (a table)."""

    inputs: Tensor  # (examples, *shape)
    labels: Tensor  # (examples,)
    test_inputs: Tensor  # (test examples, *shape)
    test_labels: Tensor  # (test examples,)
    groups: Tensor | None = None  # (examples,) the real owner: a hospital, a person
    test_groups: Tensor | None = None  # (test examples,) the same of those

    def head(self, order: np.ndarray) -> Examples:
        """Only the training examples of that order."""
        kept = torch.from_numpy(order)
        groups = None if self.groups is None else self.groups[kept]
        return replace(self, inputs=self.inputs[kept], labels=self.labels[kept], groups=groups)


@dataclass(frozen=True, eq=False)
class FederatedDataset:
    """Clients as rows of indices into one pool; shorter rows are padded, `sizes` says how much."""

    inputs: Tensor  # (pool, *shape)
    labels: Tensor  # (pool,)
    index: Tensor  # (clients, largest)
    sizes: Tensor  # (clients,)
    test_inputs: Tensor
    test_labels: Tensor

    @classmethod
    def of(cls, examples: Examples, shares: Sequence[np.ndarray]) -> FederatedDataset:
        sizes = torch.tensor([len(share) for share in shares])
        index = torch.zeros(len(shares), max(1, int(sizes.max())), dtype=torch.int64)
        for row, share in zip(index, shares, strict=True):
            row[: len(share)] = torch.from_numpy(np.asarray(share))
        return cls(
            inputs=examples.inputs,
            labels=examples.labels,
            index=index,
            sizes=sizes,
            test_inputs=examples.test_inputs,
            test_labels=examples.test_labels,
        )

    @property
    def clients(self) -> int:
        return len(self.sizes)

    def held(self, client: int) -> Tensor:
        """Pool indices of a client's examples.  -> (its size,)"""
        return self.index[client, : int(self.sizes[client])]

    def examples(self, index: Tensor) -> tuple[Tensor, Tensor]:
        """index (...) of the pool -> inputs as floats (..., *shape), labels (...)"""
        flat = index.flatten()
        inputs = self.inputs.index_select(0, flat).view(*index.shape, *self.inputs.shape[1:])
        return as_floats(inputs), self.labels[index]

    def outsiders(self) -> Tensor:
        """Pool indices that no client holds.  -> (outsiders,)"""
        free = torch.ones(len(self.labels), dtype=torch.bool)
        for client in range(self.clients):
            free[self.held(client)] = False
        return free.nonzero().flatten()

    def label_counts(self, classes: int) -> Tensor:
        """How many examples of each class each client holds.  -> (clients, classes)"""
        there = torch.arange(self.index.shape[1]) < self.sizes.unsqueeze(1)  # (clients, largest)
        cells = self.labels[self.index] + classes * torch.arange(self.clients).unsqueeze(1)
        return torch.bincount(cells[there], minlength=classes * self.clients).view(-1, classes)

    def moved(self, device: torch.device) -> FederatedDataset:
        """With its examples on another device."""
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device))

    @property
    def everyone(self) -> range:
        return range(self.clients)

    def rewritten(
        self,
        clients: Iterable[int],
        change: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> FederatedDataset:
        """Let `clients` hold changed examples; everybody else's stay as they are.

        Those take the places of the originals in a new pool, for shares are disjoint: so no
        original is left that could pass for an outsider.

        change: (client, its inputs as floats, its labels) -> inputs and labels, changed
        """
        inputs, labels = self.inputs.clone(), self.labels.clone()
        for client in clients:
            mine = self.held(client)
            new_inputs, new_labels = change(client, as_floats(inputs[mine]), labels[mine])
            inputs[mine], labels[mine] = like(new_inputs, inputs), new_labels
        return replace(self, inputs=inputs, labels=labels)


class DataSource(Component):
    """A data set.  `source` is its citation."""

    table: ClassVar[dict[str, type[DataSource]]] = {}
    licence: ClassVar[str]
    shape: ClassVar[Shape]
    classes: ClassVar[tuple[str, ...]]
    size: ClassVar[int]  # training examples
    groups: ClassVar[tuple[str, ...]] = ()  # real owners of the data, where there are any
    content: ClassVar[Modality] = "pictures"

    def columns(self) -> tuple[Column, ...]:
        """What the floats of a table mean; nothing for pictures and text."""
        return ()

    @abstractmethod
    def load(self) -> Examples:
        """Raises SettingError, with the command that mends it, when the files are not there."""

    def dump(self) -> Any:
        return self.kind  # a source has no settings, so its name says it all


class Partition(Component):
    """Who gets which examples, and how they look to whom."""

    table: ClassVar[dict[str, type[Partition]]] = {}

    @property
    def dealt(self) -> float:
        """The share of the examples that it deals out, or nearly."""
        return 1.0

    @abstractmethod
    def __call__(
        self,
        labels: np.ndarray,
        groups: np.ndarray | None,
        clients: int,
        generator: np.random.Generator,
    ) -> Sequence[np.ndarray]:
        """labels (examples,) -> the indices of each client, disjoint; a client may get none"""

    def check(self, source: DataSource, clients: int, examples: int) -> None:
        """Raises SettingError where the split makes no sense for so many clients and examples."""

    def shift(
        self,
        client: int,
        inputs: Tensor,
        labels: Tensor,
        classes: int,
        stream: Callable[[int], np.random.Generator],
    ) -> tuple[Tensor, Tensor]:
        """One client's examples, inputs as floats -> as this client sees them.

        Test examples stay as they are.

        stream: random streams by number, such as the client's, the same whoever else there is
        """
        return inputs, labels
