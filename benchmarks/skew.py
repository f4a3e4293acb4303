"""Clients who hold quite different labels: what each algorithm makes of them.

`python -m benchmarks.skew`.  The setting in which corrections for drift should help.
"""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path
from statistics import mean, pstdev

from rich.console import Console
from rich.progress import track
from rich.table import Table

from lab import Experiment, run
from lab.common.threads import start_threads
from lab.engine.algorithms import ONE_MODEL

RESULTS = Path(__file__).parent / "results" / "skew.json"
ROUNDS, LAST, SEEDS = 60, 9, (0, 1, 2)
KINDS = [one.model_fields["kind"].default for one in ONE_MODEL]
SETTINGS = {
    "data.source": "fashion-mnist",
    "data.partition.kind": "dirichlet",
    "data.partition.alpha": 0.1,
    "data.clients": 50,
    "model.kind": "mlp",
    "training.clients_per_round": 5,
    "training.rounds": ROUNDS,
    "training.rate": 0.05,
}


def accuracy(kind: str, seed: int) -> float:
    """In percent, the mean over the last rounds: a single one jumps with its cohort."""
    changes = {"seed": seed, "training.algorithm.kind": kind}
    records = [moment.record for moment in run(Experiment().changed(SETTINGS | changes))]
    return 100 * mean(each.accuracy or 0.0 for each in islice(records, ROUNDS - LAST, None))


def main() -> None:
    start_threads()
    found = {
        kind: [accuracy(kind, seed) for seed in SEEDS]
        for kind in track(KINDS, "training", transient=True)
    }
    usual = found["fedavg"]
    table = Table("algorithm", "accuracy %", "+- over seeds", "beside fedavg", "each seed's",
                  title=f"Dirichlet 0.1, 5 of 50 clients, {ROUNDS} rounds, rate 0.05")  # fmt: skip
    for kind, each in sorted(found.items(), key=lambda item: -mean(item[1])):
        gains = [one - other for one, other in zip(each, usual, strict=True)]
        told = " ".join(f"{gain:+.1f}" for gain in gains)
        table.add_row(kind, f"{mean(each):.1f}", f"{pstdev(each):.1f}", f"{mean(gains):+.1f}", told)
    Console().print(table)
    RESULTS.parent.mkdir(exist_ok=True)
    content = {"settings": SETTINGS, "seeds": SEEDS, "last_rounds": LAST, "accuracy": found}
    RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
