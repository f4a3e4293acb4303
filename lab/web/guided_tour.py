"""The tour: one picture, one local step, and what the server reads from it, under each defence.

Everything is a real run of four clients with a picture each, attacked by a spy of the catalogue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from torch import Tensor

from attacks.membership.outsider.loss_threshold import LossThreshold
from attacks.reconstruction.analytic.first_layer import FirstLayer
from lab.attack_runs.membership.outsider import run_membership
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.engine.round import run_round
from lab.engine.run import initial_state, run
from lab.experiment.experiment import Experiment
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.reconstruction.image_scorer import ImageScore

SMALL: dict[str, Any] = {
    "data.clients": 4,
    "data.examples": 4,
    "training.rounds": 1,
    "training.batch_size": 1,
    "training.steps": 1,
}
STOPS: dict[str, Mapping[str, Any]] = {
    "bare": {},
    "masked": {"secure_aggregation.enabled": True},
    "noisy": {"privacy.kind": "example", "privacy.noise": 1.0, "privacy.sampling": "fixed"},
}
EPOCHS = 60
LEARNT: dict[str, Any] = {
    "data.clients": 4,
    "data.examples": 120,
    "training.rounds": 6,
    "training.epochs": EPOCHS // 6,
    "training.batch_size": 10,
}


@dataclass(frozen=True, eq=False)
class TourStop:
    """What the server read off what it got."""

    private: Tensor  # (colours, height, width)
    guess: Tensor
    likeness: ImageScore


@cache
def stop(name: str) -> TourStop:
    """One of `STOPS`, of client 0; computed once."""
    experiment = Experiment().changed({**SMALL, **STOPS[name]})
    moment = run_round(initial_state(experiment))
    *_, last = run_reconstruction(FirstLayer(), moment, 0)
    assert isinstance(last.score, ImageScore)
    return TourStop(last.pictures["private"][0], last.pictures["guess"][0], last.score)


@cache
def memory() -> MembershipScore:
    """How well members are told from others, by the loss of a model that learnt them by heart."""
    state = initial_state(Experiment().changed(LEARNT))
    for moment in run(state.experiment, state):
        state = moment.state
    *_, last = run_membership(LossThreshold(), state)
    assert last.result is not None
    assert isinstance(last.result.score, MembershipScore)
    return last.result.score
