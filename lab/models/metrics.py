"""How good a model is on test examples."""

from __future__ import annotations

from math import isfinite

import torch
import torch.nn.functional as F
from torch import Tensor

from lab.common.threads import run_in_threads
from lab.models.inputs import as_floats
from lab.models.layers import colours_last
from lab.models.network import Network

BLOCK = 128  # examples at once: they stay in the cache


def example_metrics(
    network: Network, model: Tensor, inputs: Tensor, labels: Tensor
) -> tuple[Tensor, Tensor]:
    """Whether each example is classified rightly, and its cross-entropy.  -> (examples,) twice"""

    def mark(block: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():  # of this thread
            logits = _logits(network, model, block[0])
            right = logits.argmax(dim=1) == block[1]
            return right, F.cross_entropy(logits, block[1], reduction="none")

    if not len(labels):
        return torch.zeros(0, dtype=torch.bool), torch.zeros(0)
    found = run_in_threads(mark, zip(inputs.split(BLOCK), labels.split(BLOCK), strict=True))
    right, losses = (torch.cat(parts) for parts in zip(*found, strict=True))
    return right, losses


def predictions(network: Network, model: Tensor, inputs: Tensor) -> Tensor:
    """The class that the model sees in each example.  -> (examples,)"""
    with torch.no_grad():
        return _logits(network, model, inputs).argmax(dim=1)


def _logits(network: Network, model: Tensor, inputs: Tensor) -> Tensor:
    some = as_floats(inputs)
    return network(model, colours_last(some) if some.ndim == 4 else some)


def summary(right: Tensor, losses: Tensor) -> tuple[float, float | None]:
    """Share of right answers, and mean cross-entropy; None once that is no finite number."""
    return int(right.sum()) / max(1, len(right)), mean_loss(losses)


def mean_loss(losses: Tensor) -> float | None:
    """Mean of the losses; None once that is no finite number."""
    loss = float(losses.double().sum()) / max(1, len(losses))
    return loss if isfinite(loss) else None


def evaluate(
    network: Network, model: Tensor, inputs: Tensor, labels: Tensor
) -> tuple[float, float | None]:
    """`summary` of the `marks`."""
    return summary(*example_metrics(network, model, inputs, labels))
