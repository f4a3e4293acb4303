"""Small private experiments and what they spend, which tests of false guarantees share."""

from __future__ import annotations

from lab import Experiment
from lab.engine.differential_privacy.accountant import spent

TINY = {"data.source": "digits", "data.examples": 200, "model": "logistic", "training.steps": 1}
CLIENT = {"privacy.kind": "client", "privacy.noise": 3.0}


def made(settings: dict[str, object]) -> Experiment:
    return Experiment().changed({**TINY, **settings})


def epsilon(experiment: Experiment, rounds: int) -> float:
    found = spent(experiment, rounds)
    assert found is not None
    return found.epsilon
