"""The slow way: one client and one batch after the other, by autograd, as the pseudocode has it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.engine.client.batches import batches
from lab.engine.data.federation import federated_dataset
from lab.experiment.experiment import Experiment
from lab.models.inputs import as_floats

Batch = tuple[Tensor, Tensor]


def batches_of(now: Experiment, round: int, client: int, epochs: int = 0) -> Iterator[Batch]:
    """The inputs and labels of each local step."""
    federation = federated_dataset(now)
    held = federation.held(client)
    for batch in batches(now, round, client, len(held), epochs):
        picked = held[torch.from_numpy(batch)]
        yield as_floats(federation.inputs[picked]).double(), federation.labels[picked]


def all_of(now: Experiment, client: int) -> Batch:
    """Every example of a client."""
    federation = federated_dataset(now)
    held = federation.held(client)
    return as_floats(federation.inputs[held]).double(), federation.labels[held]


def slope(now: Experiment, flat: Tensor, batch: Batch) -> Tensor:
    """The gradient of the mean loss of a batch.  flat (params,) float64"""
    flat = flat.detach().requires_grad_(True)
    loss = F.cross_entropy(now.architecture(flat, batch[0]), batch[1])
    return torch.autograd.grad(loss, flat)[0]
