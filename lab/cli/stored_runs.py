"""The runs of the store: listed, shown, exported, compared, noted, deleted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lab.cli.output import Id, Json, paper, privacy, screen, sentence, write_all
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import gives_away
from lab.reports.comparison import differences, outcome, sides
from lab.reports.result_files import write
from lab.scoring.attack_result import AttackResult
from lab.storage.administration import delete_runs
from lab.storage.job import Job
from lab.storage.joint_guarantee import together
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store


def runs(as_json: Json = False) -> None:
    """List the runs of the store, the newest first."""
    found, notes = Store().runs(), Store().notes()
    if as_json:
        print(json.dumps([_summary(job) | {"note": notes.get(job.id, "")} for job in found]))
        return
    listed = Table("run", "status", "rounds", "what", "note", box=None)
    for job in found:
        title = job.experiment.title()
        listed.add_row(job.id, job.status, str(job.round), title, notes.get(job.id, ""))
    paper.print(listed)


def show(id: Id, as_json: Json = False) -> None:
    """One run: its experiment, its last round, the attacks on it."""
    store = Store()
    _tell_hidden(store, id)
    job, rounds, attacks = store.run(id), store.rounds(id), store.attacks_on(id)
    if as_json:
        seen = [{"id": one.id, "status": one.status, "result": one.result} for one in attacks]
        listed: dict[str, Any] = {"rounds": [each.line() for each in rounds], "attacks": seen}
        beside = together(store, job)
        listed["together"] = {"others": beside.others, "epsilon": beside.epsilon}
        print(json.dumps(_summary(job) | {"experiment": job.body} | listed))
        return
    paper.print(f"run {id}: {job.status} after {job.round} rounds. {job.message}\n")
    paper.print(job.experiment.to_toml())
    for each in rounds[-1:]:
        paper.print(sentence(each))
    paper.print("\n".join(privacy(store, job)))
    for one in attacks:
        paper.print(f"\nattack {one.id}: {one.order.attack.kind}, {one.status}. {one.message}")
        paper.print("\n".join(AttackResult.read(one.result).lines()) if one.result else "")
    paper.print("\n" + job.experiment.command())


def report(
    id: Id,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html")],
) -> None:
    """Write a page that holds everything of a run, figures included, and needs nothing else."""
    from lab.reports.html_report import (
        write_report,  # as late as possible: figures take their time to load
    )

    store = Store()
    write_report(store, id, out)
    _tell_hidden(store, id)
    paper.print(f"{out}")


def export(id: Id, out: Annotated[Path, typer.Option("--out", help="a folder")]) -> None:
    """Write all of a run: experiment, records in four formats, model, report, figures, notebook."""
    from lab.reports.bundle import (
        illustrated,  # as late as possible: figures take their time to load
    )

    store = Store()
    job = store.run(id)
    write_all(illustrated(store, job), out)
    _tell_hidden(store, id)
    if warning := gives_away(job.experiment):
        screen.print(f"leaklab: {warning}")
    paper.print(f"{out}")


def compare(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="two runs or more")],
    page: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE.html", help="a page, too")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="a folder that gets everything")] = None,
) -> None:
    """Runs beside each other: in what they differ, and what came of them."""
    store = Store()
    found = sides(store, [store.run(id) for id in ids])
    if len(found) < 2:
        raise SettingError(f"{len(found)} of these runs has finished a round: name two that have")
    listed = Table("", *(side.name for side in found), box=None)
    for path, values in differences([side.job.experiment for side in found]).items():
        listed.add_row(path, *values)
    outcomes = [outcome(side) for side in found]
    for name in dict.fromkeys(name for each in outcomes for name in each):
        listed.add_row(name, *(each.get(name, "") for each in outcomes))
    paper.print(listed)
    if page:
        from lab.reports.html_report import render_comparison

        write({page.name: render_comparison(found).encode()}, page.parent)
    if out:
        from lab.reports.bundle import joint

        write_all(joint(store, found), out)
        paper.print(f"{out}")


def note(
    id: Id, words: Annotated[str, typer.Argument(help="what to remember; empty: nothing")]
) -> None:
    """Write a note beside a run, in place of the one that is there."""
    RunCommands(Store()).annotate(id, words)


def delete(ids: Annotated[list[str], typer.Argument(metavar="ID...", help="runs")]) -> None:
    """Forget runs for good, with all attacks on them."""
    store = Store()
    for id in ids:
        store.run(id)  # before anything is lost
    paper.print(f"{delete_runs(store, ids)} deleted")


def _tell_hidden(store: Store, id: str) -> None:
    if number := store.hidden_attacks(id):
        screen.print(
            f"leaklab: {number} attacks on pictures of visitors are left out: only their "
            "own browsers show them"
        )


def _summary(job: Job) -> dict[str, Any]:
    known = {"run": job.id, "status": job.status, "message": job.message, "rounds": job.round}
    return known | {"created": job.created, "title": job.experiment.title()}
