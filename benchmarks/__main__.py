"""Seconds a round of this engine against the sequential loop, and how long a start takes."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table
from torch import nn

from benchmarks.sequential import module_of, train_round
from lab import ROOT, Experiment, run
from lab.engine import begin

WARM_UPS, ROUNDS = 2, 5
RESULTS = Path(__file__).parent / "results" / "rounds.json"
WORKLOADS = {
    "MLP 784-64-10, 20 clients x 500": {"model.kind": "mlp"},
    "CNN 114k, 20 clients x 500": {"model.kind": "cnn"},
}


def timed(pull: Callable[[], object]) -> Iterator[float]:
    while True:
        began = time.perf_counter()
        pull()
        yield time.perf_counter() - began


def best(pull: Callable[[], object]) -> float:
    """Seconds of the fastest round after the warm-ups."""
    return min(list(islice(timed(pull), WARM_UPS + ROUNDS))[WARM_UPS:])


def engine(experiment: Experiment) -> float:
    rounds = run(experiment)
    return best(lambda: next(rounds))


def sequential(experiment: Experiment, threads: int) -> float:
    torch.set_num_threads(threads)
    module = module_of(experiment)
    nn.utils.vector_to_parameters(begin(experiment).model.clone(), module.parameters())
    return best(lambda: train_round(experiment, module, round=1))


def start() -> float:
    """Seconds from the command to the end of the first round, imports and data included."""
    command = [sys.executable, "-m", "lab.cli", "run", "experiments/default.toml"]
    command += ["-s", "training.rounds=1"]
    environment = os.environ | {"LEAKLAB_DB": "sqlite:////tmp/leaklab-bench.db"}
    return best(lambda: subprocess.run(command, cwd=ROOT, env=environment, check=True,
                                       stdout=subprocess.DEVNULL))  # fmt: skip


def main() -> None:
    table = Table("workload", "Leaklab s", "sequential s", "ratio")
    results: dict[str, object] = {"machine": platform.processor() or platform.machine()}
    for name, settings in WORKLOADS.items():
        experiment = Experiment().changed(settings)
        ours, theirs = engine(experiment), min(sequential(experiment, n) for n in (1, 2))
        table.add_row(name, f"{ours:.3f}", f"{theirs:.3f}", f"{theirs / ours:.1f}")
        results[name] = {"seconds": ours, "sequential": theirs, "ratio": theirs / ours}
    results["start"] = start()
    table.add_row("start to first round", f"{results['start']:.1f}", "", "")
    Console().print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
