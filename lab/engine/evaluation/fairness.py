"""Fairness: how good a model is for each client by itself.

A client meets what it was trained on: test examples with its own mix of labels, and changed as its
own examples are, where the split changes them.  Where only labels differ nothing is tested anew:
it is the accuracy on each class, weighted by the client's share of that class.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from lab.engine.carried_state import OwnMetrics
from lab.engine.data.federation import federated_dataset, own_test, shifts
from lab.engine.data.public_examples import test_data
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import Experiment
from lab.models.metrics import example_metrics

Rates = tuple[float | None, ...]  # of each client; None for one without examples


def by_client(now: Experiment, model: Tensor, right: Tensor) -> Rates:
    """Accuracy for each client; right (test examples,): what the model got right of them all."""
    everyone = federated_dataset(now).everyone
    return as_rates(_rates(now, model.expand(len(everyone), -1), everyone, right))


def own_metrics(now: Experiment, models: Tensor, clients: Sequence[int]) -> OwnMetrics:
    """Return how good each client's own model is, for itself and for all.

    models (clients, params)
    """
    federation = test_data(now)
    own, on_all, losses_on_all = [], [], []
    for model, client in zip(models, clients, strict=True):
        right, losses = example_metrics(
            now.architecture, model, federation.test_inputs, federation.test_labels
        )
        own.append(_rates(now, model.unsqueeze(0), [client], right)[0])
        on_all.append(right.float().mean())
        losses_on_all.append(losses.mean())
    columns = (own, on_all, losses_on_all)
    return OwnMetrics(*(torch.stack(one) if one else torch.zeros(0) for one in columns))


def _rates(now: Experiment, models: Tensor, clients: Sequence[int], right: Tensor) -> Tensor:
    """models (clients, params) -> (clients,) accuracy on its own mix; not a number without any"""
    if shifts(now.data):
        found = [
            example_metrics(now.architecture, model, *own_test(now, client))[0].float().mean()
            for model, client in zip(models, clients, strict=True)
        ]
        return torch.stack(found)
    federation, classes = test_data(now), len(now.data.source.classes)
    labels = federation.test_labels
    there = torch.bincount(labels, minlength=classes)
    rates = torch.bincount(labels[right], minlength=classes) / there.clamp_min(1)  # (classes,)
    shares = federation.label_counts(classes)[list(clients)] * (there > 0)  # (clients, classes)
    return (shares * rates).sum(dim=1) / shares.sum(dim=1)


def as_rates(found: Tensor) -> Rates:
    """For a record."""
    return tuple(None if rate != rate else round(rate, 4) for rate in found.tolist())


def worst_tenth(rates: Rates) -> float | None:
    """Mean accuracy of the worst tenth of the clients, at least of one."""
    known = sorted(rate for rate in rates if rate is not None)
    worst = known[: max(1, len(known) // 10)]
    return sum(worst) / len(worst) if worst else None


def deviation(rates: Rates) -> float | None:
    """Standard deviation over the clients."""
    known = torch.tensor([rate for rate in rates if rate is not None])
    return float(known.std(correction=0)) if len(known) else None


def told(record: RoundRecord) -> list[str]:
    """A line on the common model, and one on the clients' own where there are both."""
    both = bool(record.personal) and record.personal != record.fairness
    lines = [_told("The common model: " if both else "", record.fairness)]
    return [
        line for line in [*lines, _told("Own models: ", record.personal if both else ())] if line
    ]


def _told(whose: str, rates: Rates) -> str:
    known = [rate for rate in rates if rate is not None]
    if not known:
        return ""
    words = (
        f"{whose}clients' accuracy is {sum(known) / len(known):.1%} on average, with a standard "
        f"deviation of {deviation(rates):.1%}, and {worst_tenth(rates):.1%} for the worst tenth."
    )
    return words[0].upper() + words[1:]
