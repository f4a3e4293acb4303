"""Fairness: how good a model is for each client by itself.

A client meets what it was trained on: test examples with its own mix of labels, and changed as its
own examples are, where the split changes them.  Where only labels differ nothing is tested anew:
it is the accuracy on each class, weighted by the client's share of that class.
"""

from __future__ import annotations

import torch
from torch import Tensor

from lab.assembly import assemble, own_test, shifts
from lab.evaluate import marks
from lab.experiment import Experiment

Rates = tuple[float | None, ...]  # of each client; None for one without examples


def by_client(now: Experiment, model: Tensor, right: Tensor) -> Rates:
    """Accuracy for each client; right (test examples,): what the model got right of them all."""
    federation, classes = assemble(now), len(now.data.source.classes)
    if shifts(now.data):
        tests = [own_test(now, client) for client in federation.everyone]
        found = [marks(now.architecture, model, *test)[0].float().mean() for test in tests]
        return tuple(round(float(rate), 4) for rate in found)
    labels = federation.test_labels
    tested = torch.bincount(labels, minlength=classes)
    rates = torch.bincount(labels[right], minlength=classes) / tested.clamp_min(1)  # (classes,)
    shares = federation.label_counts(classes) * (tested > 0)  # (clients, classes)
    means = (shares * rates).sum(dim=1) / shares.sum(dim=1)
    return tuple(None if rate != rate else round(rate, 4) for rate in means.tolist())


def worst_tenth(rates: Rates) -> float | None:
    """Mean accuracy of the worst tenth of the clients, at least of one."""
    known = sorted(rate for rate in rates if rate is not None)
    worst = known[: max(1, len(known) // 10)]
    return sum(worst) / len(worst) if worst else None


def deviation(rates: Rates) -> float | None:
    """Standard deviation over the clients."""
    known = torch.tensor([rate for rate in rates if rate is not None])
    return float(known.std(correction=0)) if len(known) else None
