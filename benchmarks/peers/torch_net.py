"""The nets of the workloads in torch.nn, and the step that torch users write."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


def net(settings: dict) -> nn.Sequential:
    hidden, few = settings["hidden"], settings.get("channels", 0)
    if settings["kind"] == "mlp":
        return nn.Sequential(nn.Flatten(), nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, 10))
    # Pooling before ReLU, as in Leaklab: the same numbers with less work.
    return nn.Sequential(
        nn.Conv2d(1, few, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Conv2d(few, 2 * few, 5, padding=2),
        nn.MaxPool2d(2),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * few * 49, hidden),
        nn.ReLU(),
        nn.Linear(hidden, 10),
    )


def train(module: nn.Module, inputs: Tensor, labels: Tensor, settings: dict) -> None:
    """One epoch of SGD.  Slices of a shuffled tensor: a DataLoader is slower."""
    optimiser = torch.optim.SGD(module.parameters(), lr=settings["rate"])
    for picked in torch.randperm(len(labels)).split(settings["batch"]):
        optimiser.zero_grad()
        F.cross_entropy(module(inputs[picked]), labels[picked]).backward()
        optimiser.step()


@torch.no_grad()
def predict(module: nn.Module, inputs: np.ndarray) -> np.ndarray:
    return module(torch.from_numpy(inputs)).numpy()
