"""Baselines: what a federation is measured against, all data in one place and everybody alone."""

from __future__ import annotations

from lab.experiment.experiment import Experiment

NAMES = ("centralised", "local-only")
# A baseline sends nothing, so nothing is done to messages.
SILENT = {
    "privacy.kind": "none",
    "secure_aggregation.enabled": False,
    "adversary.count": 0,
    "aggregation.rule": "mean",
    "aggregation.pre_aggregators": [],
    "network.dropout": 0.0,
    "network.compression": "none",
    "network.error_feedback": False,
    "network.devices": "none",
    "network.deadline": 0.0,
    "network.spare": 0.0,
}


def baselines(experiment: Experiment) -> dict[str, Experiment]:
    """The same data, model, rounds and local training, as the experiment begins."""
    first = experiment.at(1)
    return {name: first.changed({**SILENT, "training.algorithm.kind": name}) for name in NAMES}
