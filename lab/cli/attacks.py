"""Attacks and audits of stored runs, and of pictures of one's own."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.audits import AUDITS, fitting
from lab.cli.output import Json, Out, Sets, columns, finished, paper, screen, without_none
from lab.common.settings import SettingError, nearest, shown
from lab.common.settings_text import LAST, parse_pairs
from lab.experiment.experiment import Experiment
from lab.jobs.attack_job import carry_out_attack
from lab.reports.result_files import write_attack
from lab.scoring.attack_result import AttackResult
from lab.storage.array_disposal import PICTURE
from lab.storage.job import Job
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.uploads import decoded, read
from lab.storage.worker_store import WorkerStore


def attack(
    name: Annotated[str, typer.Argument(metavar="NAME", help="one of leaklab list spies")],
    run_id: Annotated[str, typer.Option("--run", metavar="ID", help="a run, or last: the newest")],
    round: Annotated[int | None, typer.Option(help="a finished round; by default the last")] = None,
    client: Annotated[int | None, typer.Option(help="whose update, or whose data")] = None,
    targets: Annotated[
        int, typer.Option(help="models by the same recipe to attack besides, for finer rates")
    ] = 0,
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Attack what a finished round of a run gave away."""
    ledger = WorkerStore(Store())
    run_id, last = _target(ledger.store, run_id, "attack")
    spy = {"kind": name, **parse_pairs(sets or [])}
    order = {**spy, "round": last if round is None else round, "client": client}
    order |= {"targets": targets}
    job = ledger.start_attack(run_id, AttackRequest.read(without_none(order)))
    _watch(ledger, job, out, as_json)


def audit(
    run_id: Annotated[str, typer.Option("--run", metavar="ID", help="a run, or last: the newest")],
    kind: Annotated[str | None, typer.Option(help="one of leaklab list audits")] = None,
    round: Annotated[int | None, typer.Option(help="up to which; by default the last")] = None,
    client: Annotated[int | None, typer.Option(help="who holds the canaries")] = None,
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Bound from below, by canaries, how much a run leaks, beside what is claimed."""
    ledger = WorkerStore(Store())
    run_id, last = _target(ledger.store, run_id, "audit")
    chosen = kind or fitting(ledger.store.run(run_id).experiment.at(last))
    if chosen not in AUDITS:
        raise SettingError(f"--kind is {shown(chosen)}: {nearest(chosen, AUDITS)}")
    spy = {"kind": chosen, **parse_pairs(sets or [])}
    order = {**spy, "round": last if round is None else round, "client": client}
    job = ledger.start_attack(run_id, AttackRequest.read(without_none(order)))
    _watch(ledger, job, out, as_json)


def invert(
    picture: Annotated[Path, typer.Argument(metavar="PICTURE", help="a PNG or JPEG of your own")],
    name: Annotated[str, typer.Option("--attack", metavar="NAME", help="of leaklab list spies")],
    run_id: Annotated[str | None, typer.Option("--run", metavar="ID", help="whose model")] = None,
    round: Annotated[int | None, typer.Option(help="whose model; by default the next")] = None,
    model: Annotated[str | None, typer.Option(help="without a run: a fresh one; lenet")] = None,
    source: Annotated[str | None, typer.Option(help="without a run: its data; photos")] = None,
    label: Annotated[str, typer.Option(help="the class it is trained as, by name or number")] = "0",
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Attack a picture of your own, as the only example of a client."""
    store = Store()
    if run_id and (model or source):
        raise SettingError("--model and --source are of a fresh model: leave them out beside --run")
    fresh = {"data.source": source or "photos", "model.kind": model or "lenet"}
    target = _named(store, run_id) if run_id else None
    experiment = target.experiment if target else Experiment().changed(fresh)
    data, last = experiment.data.source, target.round if target else 0
    shrunk = decoded(read(picture), data.shape)
    order = {
        "kind": name,
        **parse_pairs(sets or []),
        "round": last + 1 if round is None else round,
        "picture": store.arrays.digest({PICTURE: shrunk}),
        "label": _class(label, data.classes),
    }
    ordered = AttackRequest.read(order)
    ordered.attack.suits(experiment.architecture)  # before there is a run of it
    run_id = (
        target.id if target else RunCommands(store).create(experiment, held={"status": "paused"})
    )
    ledger = WorkerStore(store)
    _watch(ledger, ledger.start_attack(run_id, ordered, shrunk), out, as_json)


def _target(store: Store, id: str, to_what: str) -> tuple[str, int]:
    """A run's id and its last finished round.  Raises SettingError where there is none."""
    job = _named(store, id)
    if not job.round:
        raise SettingError(
            f"run {job.id} has finished no round yet, so there is nothing to {to_what}"
        )
    return job.id, job.round


def _named(store: Store, id: str) -> Job:
    """Raises SettingError."""
    newest = store.runs(most=1) if id == LAST else []
    return newest[0] if newest else store.run(id)


def _class(label: str, classes: tuple[str, ...]) -> int:
    """Its number.  Raises SettingError."""
    if label.isdecimal():
        return int(label)
    if label not in classes:
        raise SettingError(f"--label is {shown(label)}: {nearest(label, classes)}")
    return classes.index(label)


def _watch(ledger: WorkerStore, job: Job, out: Path | None, as_json: bool) -> None:
    """Carry out a claimed attack, and tell its result.  Ctrl-C keeps the best guess so far."""
    stopped = False
    try:
        with Progress(*columns(), console=screen, transient=True, disable=as_json) as progress:
            task = progress.add_task(job.order.attack.kind)
            with closing(carry_out_attack(ledger, job)) as glimpses:
                for glimpse in glimpses:
                    progress.update(task, completed=glimpse.step, total=glimpse.steps)
    except KeyboardInterrupt:
        stopped = True
    ended = ledger.store.job(job.id) if stopped else finished(ledger.store, job.id)
    if ended.result is None:
        screen.print("leaklab: stopped before the attack had anything to say")
        sys.exit(130)
    if out:
        write_attack(ledger.store, ended, out)
    result = AttackResult.read(ended.result)
    if as_json:
        print(json.dumps({"id": ended.id, "run": ended.run} | result.dump()))
    else:
        paper.print("\n".join(result.lines()))
    if stopped:
        sys.exit(130)
