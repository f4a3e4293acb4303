"""Records of a table: how many of a batch the attack finds to the last cell, and what a guess does.

`python -m benchmarks.tabular`.  Twenty batches a place, one of each seed: what client 0 of ten sent
in one local step, of a model nobody trained and of one after 100 such rounds.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean, median
from time import process_time
from typing import Any

from rich.console import Console
from rich.progress import track
from rich.table import Table

from attacks.reconstruction.analytic.tabular import Tabular
from lab import Experiment, run
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.common.threads import start_threads
from lab.engine.run_state import RoundResult, RunState
from lab.interfaces.views import server_view
from lab.scoring.reconstruction.record_score import RecordScore, RecordScorer

RESULTS = Path(__file__).parent / "results" / "tabular.json"
SEEDS = range(20)
ROUNDS = 100  # of training
SIZES = {"adult": (1, 4, 8, 12, 16), "heart": (1, 4, 8)}
MEANT = {
    "exact": "share of the private records found in every cell, by seed",
    "precision": "share of the found records that are private ones, by seed",
    "cells": "share of the private cells that are right, by seed; a number is right to its step",
    "floors": "share of cells that guesses without the gradient have right; nearest is the most "
    "similar other training record, which only the truth tells; means",
    "proven": "batches of which the attack itself says that it has found all",
    "seconds": "of one processor, by seed",
    "wrongly": "of those, batches of which it has not",
}


def experiment(source: str, seed: int) -> Experiment:
    return Experiment.read(
        {
            "seed": seed,
            "data": {"source": source, "clients": 10},
            "model": {"kind": "mlp", "hidden": 100},
            "training": {"rounds": 1, "steps": 1, "batch_size": 16},
        }
    )


def trained(source: str, seed: int) -> RunState:
    *_, moment = run(experiment(source, seed).changed({"training.rounds": ROUNDS}))
    return moment.state


def attacked(moment: RoundResult) -> tuple[RecordScore, bool, float]:
    """The score, whether it was proven, and seconds of one processor."""
    now, round = moment.state.experiment, moment.record.round
    known, view = auxiliary_info(now, round), server_view(moment.transcript)
    start = process_time()
    *_, guess = Tabular()(view, 0, known)
    seconds = process_time() - start
    clerk = RecordScorer(known.columns, reconstruction_scorer(now.at(round), round, 0))
    return clerk.score(guess), bool(guess.proven), seconds


def moments(source: str, size: int, states: list[RunState] | None) -> Iterator[RoundResult]:
    """One round of each seed, from the start or from the trained states."""
    for seed in SEEDS:
        last = 1 if states is None else ROUNDS + 1
        changes = {"training.batch_size": size, "training.rounds": last}
        state = None if states is None else states[seed]
        *_, moment = run(experiment(source, seed).changed(changes), state)
        yield moment


def measured(source: str, size: int, states: list[RunState] | None) -> dict[str, Any]:
    found = [
        (*attacked(moment), moment.record.accuracy) for moment in moments(source, size, states)
    ]
    scores = [score for score, *_ in found]
    floors = {name: fmean(score.floors[name] for score in scores) for name in scores[0].floors}
    return {
        "source": source,
        "trained": 0 if states is None else ROUNDS,
        "accuracy": fmean(accuracy or 0.0 for *_, accuracy in found),
        "batch": size,
        "exact": [score.exact for score in scores],
        "precision": [score.precision for score in scores],
        "cells": [score.cells for score in scores],
        "labels": [score.labels for score in scores],
        "floors": floors | {"nearest": fmean(score.nearest for score in scores)},
        "proven": sum(proven for _, proven, *_ in found),
        "wrongly": sum(proven and score.exact * score.precision < 1 for score, proven, *_ in found),
        "seconds": [seconds for _, _, seconds, _ in found],
    }


def table(rows: list[dict[str, Any]]) -> Table:
    head = ("source", "trained", "batch", "exact", "precision", "cells", "commonest", "nearest")
    shown = Table(*head, "proven", "wrongly", "CPU seconds, median", "worst")
    for row in rows:
        means = [f"{100 * fmean(row[name]):.1f} %" for name in ("exact", "precision", "cells")]
        floors = [f"{100 * row['floors'][name]:.1f} %" for name in ("commonest cells", "nearest")]
        times = [f"{median(row['seconds']):.2f}", f"{max(row['seconds']):.2f}"]
        counts = [f"{row['proven']} of {len(SEEDS)}", str(row["wrongly"])]
        shown.add_row(
            row["source"], str(row["trained"]), str(row["batch"]), *means, *floors, *counts, *times
        )
    return shown


def main() -> None:
    start_threads()
    rows = []
    for source, sizes in SIZES.items():
        states = [trained(source, seed) for seed in track(SEEDS, f"training on {source}")]
        for size in track(sizes, source):
            rows += [measured(source, size, start) for start in (None, states)]
            found = {"seeds": list(SEEDS), "load": os.getloadavg(), "meant": MEANT, "rows": rows}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    Console(width=150).print(table(rows))


if __name__ == "__main__":
    main()
