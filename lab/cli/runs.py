"""Running an experiment, and carrying it on."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import Progress

from lab.cli.output import Id, Json, Out, Sets, columns, finished, paper, privacy, screen, sentence
from lab.common.settings import SettingError
from lab.common.settings_text import parse_pairs
from lab.engine.differential_privacy.accountant import promise, spent
from lab.experiment.experiment import Experiment
from lab.experiment.presets import is_sweep
from lab.jobs.run_job import carry_out_run
from lab.reports.result_files import write_run
from lab.storage.job import Job
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore


def run(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="an experiment")],
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Run an experiment.  Ctrl-C pauses it, and `leaklab resume` carries it on."""
    if is_sweep(file):
        raise SettingError(f"{file} is a sweep, of many runs: leaklab sweep {file}")
    experiment = Experiment.from_file(file).changed(parse_pairs(sets or []))
    ledger = WorkerStore(Store())
    _carry_on(ledger, ledger.start(experiment), out, as_json)


def resume(id: Id, out: Out = None, as_json: Json = False) -> None:
    """Carry on a run that was interrupted, paused or stopped."""
    store = Store()
    if (job := store.run(id)).status == "finished":
        raise SettingError(f"run {id} is finished: its {job.round} rounds are all there")
    RunCommands(store).resume(id)
    ledger = WorkerStore(store)
    if (claimed := ledger.claim(id)) is None:
        raise SettingError(f"run {id} is carried on by another worker already: leaklab show {id}")
    _carry_on(ledger, claimed, out, as_json)


def _carry_on(ledger: WorkerStore, job: Job, out: Path | None, as_json: bool) -> None:
    total = job.experiment.at(job.round + 1).training.rounds
    try:
        with Progress(*columns(), console=screen, transient=True, disable=as_json) as progress:
            task = progress.add_task("training", total=total, completed=job.round)
            for each in carry_out_run(ledger, job):
                progress.update(task, completed=each.record.round, description=sentence(each))
                if as_json:
                    print(json.dumps(each.line()), flush=True)
    except KeyboardInterrupt:
        screen.print(f"leaklab: paused; leaklab resume {job.id} carries on")
        sys.exit(130)
    ended = ledger.store.run(job.id)
    if out:
        write_run(ledger.store, ended, out)
    rounds = ledger.store.rounds(job.id)
    if as_json:
        last = {"run": job.id, "status": ended.status, "rounds": ended.round}
        print(json.dumps(last | _guarantee(ended)))
    else:
        for each in rounds[-1:]:
            paper.print(sentence(each))
        paper.print("\n".join(privacy(ledger.store, ended)))
        paper.print(f"run {job.id}")
    finished(ledger.store, job.id)


def _guarantee(job: Job) -> dict[str, Any]:
    """All that makes an epsilon mean something, or why there is none."""
    found = spent(job.experiment, job.round) if job.round else None
    if found:
        return {"epsilon": found.epsilon, "guarantee": found.dump()}
    return {"epsilon": None, "reason": promise(job.experiment, job.round)}
