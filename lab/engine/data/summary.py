"""A summary of a federation: what every client holds, in numbers that can be drawn."""

from __future__ import annotations

import torch
from torch import Tensor

from lab.common.settings import Settings
from lab.engine.data.federation import federated_dataset
from lab.engine.data.malicious_clients import malicious_clients
from lab.experiment.experiment import Experiment

MOST = 10  # classes that are told apart


class FederationSummary(Settings):
    """The experimenter's view of who holds what."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # clients x classes
    malicious: tuple[int, ...]
    skew: float  # mean total-variation distance of a client's labels from all labels; 0: iid


def summarise(experiment: Experiment) -> FederationSummary:
    """Raises SettingError when the data are not there."""
    federation, classes = federated_dataset(experiment), experiment.data.source.classes
    counts = federation.label_counts(len(classes))  # (clients, classes)
    whole = counts.sum(dim=0) / counts.sum()
    mixes = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    names, shown = _fewer(classes, counts)
    return FederationSummary(
        classes=names,
        counts=tuple(tuple(row) for row in shown.tolist()),
        malicious=malicious_clients(experiment),
        skew=float((mixes - whole).abs().sum(dim=1)[counts.sum(dim=1) > 0].mean() / 2),
    )


def _fewer(classes: tuple[str, ...], counts: Tensor) -> tuple[tuple[str, ...], Tensor]:
    """Of many classes the most frequent, and all others as one.  counts (clients, classes)"""
    if len(classes) <= MOST:
        return classes, counts
    order = counts.sum(dim=0).argsort(descending=True, stable=True)
    first, rest = order[: MOST - 1], order[MOST - 1 :]
    names = (*(classes[k] for k in first.tolist()), f"{len(rest):,} others")
    return names, torch.cat([counts[:, first], counts[:, rest].sum(dim=1, keepdim=True)], dim=1)
