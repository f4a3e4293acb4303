"""Malicious clients: what their attacks do to a model, and what withstands them.

`python -m benchmarks.contest`, or with the name of one of its sweeps.  Each is a file that
`leaklab sweep` carries out as well; here they have a store of their own.  What they find is kept in
`results`, held against the claims, and printed as tables.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import closing
from statistics import fmean
from time import perf_counter
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.claims import CLAIMS, Found
from benchmarks.sheets import SHEETS
from lab import ROOT
from lab.common.threads import start_threads
from lab.jobs.local_sweep import run_sweep_locally
from lab.jobs.worker_settings import most_workers
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.cell_result import CellResult
from lab.sweeps.sweep import Cell, Sweep

RESULTS = ROOT / "benchmarks" / "results"
SWEEPS = ROOT / "benchmarks" / "sweeps"
FILES = {name: SWEEPS / f"{name}.toml" for name in ("contest", "backdoors", "durability")}
NAMES = ("row", "column", "best", "worst")
FILES |= {"byzfl": ROOT / "experiments" / "byzfl.toml"}
MEANT = {
    "threat": "The same clients are malicious in every round in which they act, agree with each "
    "other, and know what their poison says that it knows.  The server is honest and sees single "
    "updates.  A rule that asks how many are malicious is told so, or a higher number.",
    "accuracy": "Percent of the test examples, without a trigger, after the last round, by seed.",
    "success": "Percent of the test examples that are read as the target with the trigger on them, "
    "those of the target's own class left out; of an edge case, of pictures of another data set "
    "that nobody trained on.  After the last round, by seed; first: after the first attacked "
    "round, by seed; course: after every round, mean of the seeds.",
}


def measured(name: str) -> dict[str, Any]:
    """What a sweep found, with all that makes it mean something."""
    sweep, start = Sweep.from_file(FILES[name]), perf_counter()
    with tempfile.TemporaryDirectory() as folder, Progress(transient=True) as progress:
        grid, task = SweepRuns(Store(f"sqlite:///{folder}/runs.db"), sweep), progress.add_task(name)
        with closing(run_sweep_locally(grid, most_workers())) as steps:
            for now in steps:
                progress.update(task, completed=now.done, total=now.total)
        places = places_of(sweep, grid.outcomes())
    return {
        "sweep": str(FILES[name].relative_to(ROOT)),
        "settings": sweep.experiment.overrides(),
        "seeds": sweep.seeds,
        **MEANT,
        "runs": len(sweep.experiments),
        "seconds": round(perf_counter() - start),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "places": places,
    }


def places_of(sweep: Sweep, outcomes: Mapping[str, CellResult]) -> list[dict[str, Any]]:
    """Of each place in the table, its labels and its measures."""
    cells: dict[tuple[int, ...], list[Cell]] = {}
    for cell in sweep.cells:
        cells.setdefault(cell.place, []).append(cell)
    found = []
    for place, each in cells.items():
        labels = [axis[at].label for axis, at in zip(sweep.axes, place, strict=True)]
        named = {axis: label for axis, label in zip(NAMES, labels, strict=True) if label}
        runs = [outcomes[cell.key] for cell in each]
        found.append(named | _measures(runs, sweep, each[0]))
    return found


def _measures(runs: Sequence[CellResult], sweep: Sweep, cell: Cell) -> dict[str, Any]:
    """Runs that differ by their seed."""
    accuracy = {"accuracy": [_percent(run.accuracy[-1]) for run in runs]}
    if sweep.measure == "accuracy" or cell.experiment is None:
        return accuracy
    obeyed = [[_percent(value or 0.0) for value in run.backdoor] for run in runs]
    first = cell.experiment.adversary.start - 1
    return accuracy | {
        "success": [each[-1] for each in obeyed],
        "first": [each[min(first, len(each) - 1)] for each in obeyed],
        "course": [round(fmean(of_round), 1) for of_round in zip(*obeyed, strict=True)],
    }


def _percent(share: float) -> float:
    return round(100 * share, 2)


def written(name: str) -> dict[str, Any]:
    """The results that are on file."""
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def write(name: str, content: dict[str, Any]) -> None:
    """A line for every place: they are many."""
    lines = [json.dumps(place) for place in content["places"]]
    head = json.dumps(content | {"places": None}, indent=1)
    places = '"places": [\n  ' + ",\n  ".join(lines) + "\n ]"
    text = head.replace('"places": null', places) + "\n"
    (RESULTS / f"{name}.json").write_text(text, encoding="utf-8")


def show(name: str, paper: Console) -> None:
    found = Found(written(name)["places"])
    for sheet in SHEETS[name]:
        paper.print(sheet(found).rich())
    table = Table("claim", "measured", "holds")
    for claim in CLAIMS[name](found):
        table.add_row(claim.says, claim.measured, "yes" if claim.holds else "no")
    paper.print(table)


def main() -> None:
    reader = argparse.ArgumentParser(prog="benchmarks.contest", description=__doc__)
    reader.add_argument("name", nargs="?", choices=FILES, help="a sweep; none: all of them")
    reader.add_argument("--kept", action="store_true", help="show what is on file, and run nothing")
    asked = reader.parse_args()
    start_threads()
    for name in [asked.name] if asked.name else FILES:
        if not asked.kept:
            write(name, measured(name))
        elif not (RESULTS / f"{name}.json").exists():
            continue
        show(name, Console(width=None if os.isatty(1) else 170))


if __name__ == "__main__":
    main()
