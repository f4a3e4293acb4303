"""The engine: one loop that is handed parts.  An experiment goes in, a stream of moments comes out.

Pause: do not pull.  Step: pull one.  Rewind or branch: `run(experiment, state=old)`.  Toggle a
defence in mid-run: `run(changed, state=last)`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch

from lab.common.random_streams import random_stream
from lab.engine.differential_privacy.accountant import budget_left
from lab.engine.round import run_round
from lab.engine.run_state import RoundResult, RunState, RunStopped
from lab.experiment.experiment import Experiment


def initial_state(experiment: Experiment) -> RunState:
    return RunState(
        0, experiment.architecture.initial(random_stream(experiment.seed, "model")), experiment
    )


def run(experiment: Experiment, state: RunState | None = None) -> Iterator[RoundResult]:
    """Rounds until `training.rounds`, from the start or from where `state` left off.

    An experiment that differs from the state's holds from the next round on, and what was spent
    before stays spent.  Raises SettingError for a change that a run cannot make, Stopped when a
    round is aborted and the experiment says so, or when its privacy budget is used up.
    """
    # An operation on one thread sums in one order, so records do not depend on the machine's cores.
    torch.set_num_threads(1)
    state = initial_state(experiment) if state is None else state
    whole = state.experiment.continued_by(experiment, after=state.round)
    while state.round < whole.at(state.round + 1).training.rounds:
        if complaint := budget_left(whole, state.round + 1):
            raise RunStopped(complaint)
        moment = run_round(replace(state, experiment=whole))
        yield moment
        state = moment.state
