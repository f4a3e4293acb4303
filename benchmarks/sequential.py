"""The peer that everybody writes first: one client after the other, torch.nn and torch.optim."""

from __future__ import annotations

from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lab.assembly import assemble
from lab.batches import batches
from lab.experiment import Experiment
from lab.federation import as_floats


def module_of(experiment: Experiment) -> nn.Sequential:
    """The torch.nn twin of the experiment's model; its parameters come in the same order."""
    shape = experiment.data.source.shape
    sizes = experiment.model.layers(shape, len(experiment.data.source.classes))
    dense = {name: nn.Linear(size[1], size[0]) for name, size in sizes.items() if len(size) == 2}
    if experiment.model.kind == "mlp":
        layers = [nn.Flatten(), dense["hidden"], nn.ReLU(), dense["out"]]
    elif experiment.model.kind == "cnn":
        first, second = (nn.Conv2d(sizes[n][1], sizes[n][0], 5, padding=2) for n in list(sizes)[:2])
        layers = [first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU(), nn.MaxPool2d(2)]
        layers += [nn.Flatten(), dense["hidden"], nn.ReLU(), dense["out"]]
    else:
        raise ValueError(f"no torch.nn twin of {experiment.model.kind} is written here")
    return nn.Sequential(OrderedDict((str(place), layer) for place, layer in enumerate(layers)))


def train_round(experiment: Experiment, module: nn.Module, round: int) -> Tensor:
    """One round of federated averaging over all clients.  -> the flat model (params,)"""
    federation = assemble(experiment)
    start = nn.utils.parameters_to_vector(module.parameters()).detach()
    total, weight = torch.zeros_like(start), 0
    for client in federation.everyone:
        nn.utils.vector_to_parameters(start.clone(), module.parameters())
        optimiser = torch.optim.SGD(module.parameters(), lr=experiment.training.rate)
        held = federation.held(client)
        for batch in batches(experiment, round, client, len(held)):
            picked = held[torch.from_numpy(batch)]
            optimiser.zero_grad()
            logits = module(as_floats(federation.inputs[picked]))
            F.cross_entropy(logits, federation.labels[picked]).backward()
            optimiser.step()
        total += len(held) * nn.utils.parameters_to_vector(module.parameters()).detach()
        weight += len(held)
    return total / weight
