"""Tables of runs: sweeps and trade-offs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress
from rich.table import Table

from lab.cli.output import Json, Out, Sets, columns, paper, print_wide, screen, write_all
from lab.common.settings_text import parse_pairs
from lab.jobs.local_sweep import run_sweep_locally
from lab.jobs.worker_settings import most_workers
from lab.reports.result_files import results
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.lesson import lesson_of
from lab.sweeps.result_table import ResultTable
from lab.sweeps.sweep import Sweep
from lab.sweeps.tradeoff import MEASURES, Point, points, reasons, sentences, table
from lab.sweeps.tradeoff import results as results_of_study
from lab.sweeps.tradeoff_study import Study


def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="a sweep")],
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Run a table of experiments, attacked or not, and show the worst of each row.

    Ctrl-C stops it, and the same command carries it on.
    """
    grid = _carried_out(Sweep.from_file(file).changed(parse_pairs(sets or [])), as_json)
    found = grid.tally()
    if out:
        from lab.reports.bundle import swept  # as late as possible: figures take their time to load

        write_all(swept(grid), out)
    _tell(grid, results(found), None if as_json else lambda: _print_tally(found))


def tradeoff(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="a study")],
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Measure what defences cost in accuracy and save in leaks, and name those that none beats.

    Ctrl-C stops it, and the same command carries it on.
    """
    study = Study.from_file(file).changed(parse_pairs(sets or []))
    grid = _carried_out(study.sweep, as_json)
    found = points(study, grid.outcomes())
    if out:
        from lab.reports.bundle import studied  # as late as possible, as above

        write_all(studied(study, grid.outcomes()), out)
    told = results_of_study(study, found)
    _tell(grid, told, None if as_json else lambda: _print_study(study, found))


def _carried_out(sweep: Sweep, as_json: bool) -> SweepRuns:
    """Every run of it, with a bar of how far it is."""
    grid = SweepRuns(Store(), sweep)
    try:
        with (
            Progress(*columns(), console=screen, transient=True, disable=as_json) as progress,
            closing(run_sweep_locally(grid, most_workers())) as steps,
        ):
            task = progress.add_task("runs")
            for now in steps:
                progress.update(task, completed=now.done, total=now.total)
    except KeyboardInterrupt:
        screen.print("leaklab: stopped; the same command carries on")
        sys.exit(130)
    return grid


def _tell(grid: SweepRuns, found: dict[str, Any], show: Callable[[], None] | None) -> None:
    """In print, or else as JSON.  What failed makes the exit code 1."""
    if show:
        show()
    else:
        print(json.dumps(found))
    if grid.progress().failed:
        sys.exit(1)


def _print_study(study: Study, found: Sequence[Point]) -> None:
    rows = table(study, found, "auc")
    listed = Table(*(name for name in rows[0] if name != "note"), box=None)
    for row in rows:
        listed.add_row(*(value for name, value in row.items() if name != "note"))
    print_wide(listed)
    for name, measure in MEASURES.items():
        told = list(sentences(study, found, name))
        paper.print("\n".join(["", measure.title, *(f"  {line}" for line in told)]) if told else "")
    paper.print("\n".join(reasons(found)))


def _print_tally(found: ResultTable) -> None:
    listed = Table("", *(variant.label for variant in found.sweep.columns), "worst", box=None)
    for line, worst in zip(found.entries, found.worst, strict=True):
        listed.add_row(line[0].row, *(entry.told() for entry in line), worst.told())
    print_wide(listed)
    paper.print("\n".join(["", found.caption(), *found.reasons()]))
    if found.sweep.lesson:
        lesson = lesson_of(found)
        paper.print("\n".join(["", lesson.sentence, *lesson.lines(), lesson.rule]))
