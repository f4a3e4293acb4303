"""What the commands share: options, where they print, and sentences."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from lab.attack_runs.secure_aggregation.neighbourhood_capture import mask_cautions
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import UNCOVERED, cautions, promise, spent
from lab.reports.result_files import write
from lab.storage.job import Job, StoredRound
from lab.storage.joint_guarantee import together
from lab.storage.store import Store

paper = Console(highlight=False, markup=False, soft_wrap=True)
screen = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output")]
Out = Annotated[Path | None, typer.Option("--out", help="a folder that gets the results too")]
Id = Annotated[str, typer.Argument(metavar="ID", help="a run, as leaklab runs lists it")]
Sets = Annotated[
    list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="replace a setting")
]


def privacy(store: Store, job: Job) -> list[str]:
    """What its rounds guarantee, alone and beside other runs, and what a reader should know."""
    masks = mask_cautions(job.experiment, job.round)
    told = [promise(job.experiment, job.round), *cautions(job.experiment, job.round), *masks]
    if not spent(job.experiment, job.round):
        return told
    return [*told, *filter(None, [together(store, job).sentence]), UNCOVERED]


def sentence(each: StoredRound) -> str:
    record = each.record
    gone = "" if record.epsilon is None else f", epsilon {record.epsilon:.3g} spent"
    backdoor = "" if record.backdoor is None else f", backdoor {record.backdoor:.1%}"
    return f"round {record.round}: accuracy {record.accuracy:.1%}{gone}{backdoor}"


def finished(store: Store, id: str) -> Job:
    """The job, if it came to its end.  Raises SettingError with what stopped it."""
    job = store.job(id)
    if job.status != "finished":
        raise SettingError(f"{job.kind} {id} was {job.status}: {job.message}")
    return job


def write_all(files: Mapping[str, bytes], folder: Path) -> None:
    """What could not be drawn is told, and the rest is there."""
    from lab.reports.bundle import MISSING

    write(files, folder)
    if MISSING in files:
        screen.print(f"leaklab: {files[MISSING].decode().strip()}")


def columns() -> tuple[Any, ...]:
    words = TextColumn("{task.description}")
    return words, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


def print_wide(listed: Table) -> None:
    """As wide as it must be, so that a pipe gets every number."""
    wide = Measurement.get(paper, paper.options.update(max_width=10_000), listed).maximum
    Console(highlight=False, markup=False, width=max(wide, paper.width)).print(listed)


def without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
