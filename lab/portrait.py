"""A portrait of a federation: what every client holds, in numbers that can be drawn."""

from __future__ import annotations

from lab.assembly import assemble, malicious
from lab.experiment import Experiment
from lab.settings import Settings


class Portrait(Settings):
    """The experimenter's view of who holds what."""

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]  # clients x classes
    malicious: tuple[int, ...]
    skew: float  # mean total-variation distance of a client's labels from all labels; 0: iid


def portrait(experiment: Experiment) -> Portrait:
    """Raises SettingError when the data are not there."""
    federation, classes = assemble(experiment), experiment.data.source.classes
    counts = federation.label_counts(len(classes))  # (clients, classes)
    whole = counts.sum(dim=0) / counts.sum()
    mixes = counts / counts.sum(dim=1, keepdim=True).clamp_min(1)
    return Portrait(
        classes=classes,
        counts=tuple(tuple(row) for row in counts.tolist()),
        malicious=malicious(experiment),
        skew=float((mixes - whole).abs().sum(dim=1)[counts.sum(dim=1) > 0].mean() / 2),
    )
