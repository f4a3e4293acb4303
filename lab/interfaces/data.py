"""Federation: who holds which examples.  One pool and an index, never copies of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor


def as_floats(inputs: Tensor) -> Tensor:
    """Pictures are kept as bytes and read as [0, 1]; columns of a table are floats already."""
    return inputs.float().div_(255) if inputs.dtype == torch.uint8 else inputs


def like(floats: Tensor, stored: Tensor) -> Tensor:
    """The inverse of `as_floats`, into the type of `stored`."""
    if stored.dtype != torch.uint8:
        return floats.to(stored.dtype)
    return floats.mul(255).round_().clamp_(0, 255).to(torch.uint8)


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
class Federation:
    """Clients as rows of indices into one pool; shorter rows are padded, `sizes` says how much."""

    inputs: Tensor  # (pool, *shape)
    labels: Tensor  # (pool,)
    index: Tensor  # (clients, largest)
    sizes: Tensor  # (clients,)
    test_inputs: Tensor
    test_labels: Tensor

    @classmethod
    def of(cls, examples: Examples, shares: Sequence[np.ndarray]) -> Federation:
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

    def moved(self, device: torch.device) -> Federation:
        """With its examples on another device."""
        return replace(self, inputs=self.inputs.to(device), labels=self.labels.to(device))

    @property
    def everyone(self) -> range:
        return range(self.clients)

    def rewritten(
        self,
        clients: Iterable[int],
        change: Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]],
    ) -> Federation:
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
