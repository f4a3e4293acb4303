"""Leaklab's own rounds: `python -m benchmarks.ours WORKLOAD [PRECISION]`."""

from __future__ import annotations

import sys
from unittest import mock

from benchmarks.clock import WARM_UPS, answer, laps
from benchmarks.workloads import WORKLOADS
from lab.common.threads import start_threads
from lab.engine import run
from lab.engine.data.federation import federated_dataset
from lab.engine.evaluation.round_metrics import measure
from lab.models.metrics import evaluate


def main(name: str, precision: str = "float32") -> None:
    start_threads()
    experiment = WORKLOADS[name].experiment.changed({"training.precision": precision})
    federation, rounds = federated_dataset(experiment), run.run(experiment)
    state = run.initial_state(experiment)

    def train(_: int) -> None:
        nonlocal state
        state = next(rounds).state

    # Peers do not test after each round, so here we do not either: one test stands for all.
    once = measure(experiment, state.model, {}, (), None)
    with mock.patch.object(run, "measure", return_value=once):
        seconds = laps(train, experiment.training.rounds)
    tested = federation.test_inputs, federation.test_labels
    accuracy, _ = evaluate(experiment.architecture, state.model, *tested)
    rounds = run.run(experiment)
    whole = laps(train, WARM_UPS + 5)
    answer(seconds, accuracy, tested=min(whole[WARM_UPS:]))


if __name__ == "__main__":
    main(*sys.argv[1:])
