"""What tests of example-level privacy share: one local step, really taken, in two worlds.

A test says which examples are in each client's batch.  The gradients, their clipping, the noise
and what the algorithm makes of them are the lab's own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from lab.engine.data.malicious_clients import active_attackers
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.round import run_round
from lab.engine.run import initial_state
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from tests.support.neighbouring_clients import ADVERSARIES, REPETITIONS, Measured, Statement
from tests.support.observed_rounds import Noise, other_noise, silence

BATCH = 6  # examples at most
TOGGLED = (0, 1, -1)  # places in a batch of the examples that may be missing
Batches = Callable[[int], Sequence[int]]  # how many examples a client holds -> those in its batch


def reached(experiment: Experiment, round: int) -> RunState:
    """The state of the run before that round."""
    state = initial_state(experiment)
    while state.round + 1 < round:
        state = run_round(state).state
    return state


class Sent(Exception):
    """A round breaks off: its updates are about to leave the clients."""


def sent(state: RunState, chosen: Batches) -> Tensor:
    """What the clients of the next round send after one step.  -> (clients, shared)"""
    found: list[Tensor] = []

    def batches(_: Experiment, __: int, ___: int, size: int, *____: Any) -> list[np.ndarray]:
        return [np.array(chosen(size), np.int64)]

    def exchange(_: Experiment, rows: Tensor, *__: Any) -> None:
        found.append(rows)
        raise Sent

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("lab.engine.client.batched_sgd.batches", batches)
        patch.setattr("lab.engine.round.exchange", exchange)
        with pytest.raises(Sent):
            run_round(state)
    return found[0]


def measured_examples(experiment: Experiment, round: int) -> list[Measured]:
    """Every statement about that round, for the client whose update one example moves farthest."""
    stated = [Statement.of(experiment, round, one) for one in ADVERSARIES]
    cohort, bad = select_cohort(experiment, round), active_attackers(experiment, round)
    honest = torch.tensor([client not in bad for client in cohort])
    if not any(stated) or not honest.any():
        return []
    state = reached(experiment, round)
    moved = _moved(state) * honest  # (clients,)
    farthest, noise = float(moved.max()), _noise(state, int(moved.argmax()))
    return [Measured(experiment, round, what, farthest, noise) for what in stated if what]


def _moved(state: RunState) -> Tensor:
    """How far one example moves each client's update, without noise.  -> (clients,)"""
    with silence():
        whole = sent(state, lambda size: range(min(size, BATCH)))
        apart = [
            whole - sent(state, lambda size, gone=missing: _without(min(size, BATCH), gone))
            for missing in TOGGLED
        ]
    return torch.linalg.vector_norm(torch.stack(apart), dim=2).max(dim=0).values


def _without(size: int, gone: int) -> list[int]:
    """All places of a batch but one."""
    return [place for place in range(size) if place != gone % size]


def _noise(state: RunState, place: int) -> Noise:
    """Of one client's update after a step on an empty batch."""
    with silence():
        still = sent(state, lambda _: ())
    drawn = []
    for number in range(REPETITIONS):
        with other_noise(number):
            drawn.append(sent(state, lambda _: ()) - still)
    return Noise.of([one[place : place + 1] for one in drawn])
