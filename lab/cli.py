"""Leaklab's command line: the same experiments and the same numbers, without a browser."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.measure import Measurement
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from lab import ROOT
from lab.accountant import cautions, promise, spent
from lab.accountants import ACCOUNTANTS, Question
from lab.catalog import entries, tables
from lab.experiment import Experiment
from lab.export import results, write_attack, write_run, write_sweep
from lab.grid import Grid
from lab.hands import carried_out
from lab.jobs import attacked, longest_idle, most_workers, pull, work
from lab.ledger import Ledger
from lab.lesson import lesson_of
from lab.notation import parse_pairs, write_value
from lab.presets import is_sweep
from lab.settings import SettingError, nearest, shown
from lab.store import Job, Order, Round, Store
from lab.sweep import Sweep
from lab.tally import Tally
from lab.trial import Result
from lab.upload import decoded, read

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, rich_markup_mode=None)
paper = Console(highlight=False, markup=False, soft_wrap=True)
screen = Console(stderr=True, highlight=False, markup=False, soft_wrap=True)

Json = Annotated[bool, typer.Option("--json", help="JSON on standard output")]
Out = Annotated[Path | None, typer.Option("--out", help="a folder that gets the results too")]
Id = Annotated[str, typer.Argument(metavar="ID", help="a run, as leaklab runs lists it")]
Sets = Annotated[
    list[str] | None, typer.Option("-s", "--set", metavar="KEY=VALUE", help="replace a setting")
]


@app.command()
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
    ledger = Ledger(Store())
    _carry_on(ledger, ledger.start(experiment), out, as_json)


@app.command()
def resume(id: Id, out: Out = None, as_json: Json = False) -> None:
    """Carry on a run that was interrupted, paused or stopped."""
    store = Store()
    if (job := store.run(id)).status == "finished":
        raise SettingError(f"run {id} is finished: its {job.round} rounds are all there")
    store.resume(id)
    ledger = Ledger(store)
    if (claimed := ledger.claim(id)) is None:
        raise SettingError(f"run {id} is carried on by another worker already: leaklab show {id}")
    _carry_on(ledger, claimed, out, as_json)


@app.command()
def attack(
    name: Annotated[str, typer.Argument(metavar="NAME", help="one of leaklab list spies")],
    run_id: Annotated[str, typer.Option("--run", metavar="ID", help="the run to attack")],
    round: Annotated[int | None, typer.Option(help="a finished round; by default the last")] = None,
    client: Annotated[int | None, typer.Option(help="whose update, or whose data")] = None,
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Attack what a finished round of a run gave away."""
    ledger = Ledger(Store())
    last = ledger.store.run(run_id).round
    if not last:
        raise SettingError(f"run {run_id} has finished no round yet, so there is nothing to attack")
    spy = {"kind": name, **parse_pairs(sets or [])}
    order = {"spy": spy, "round": last if round is None else round, "client": client}
    job = ledger.start_attack(run_id, Order.read(_without_none(order)))
    _watch(ledger, job, out, as_json)


@app.command()
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
    target = store.run(run_id) if run_id else None
    experiment = target.experiment if target else Experiment().changed(fresh)
    data, last = experiment.data.source, target.round if target else 0
    order = {
        "spy": {"kind": name, **parse_pairs(sets or [])},
        "round": last + 1 if round is None else round,
        "picture": store.arrays.put({"picture": decoded(read(picture), data.shape)}),
        "label": _class(label, data.classes),
    }
    ordered = Order.read(order)
    ordered.spy.suits(experiment.architecture)  # before there is a run of it
    run_id = run_id or store.create(experiment, held={"status": "paused"})
    ledger = Ledger(store)
    _watch(ledger, ledger.start_attack(run_id, ordered), out, as_json)


def _class(label: str, classes: tuple[str, ...]) -> int:
    """Its number.  Raises SettingError."""
    if label.isdecimal():
        return int(label)
    if label not in classes:
        raise SettingError(f"--label is {shown(label)}: {nearest(label, classes)}")
    return classes.index(label)


def _watch(ledger: Ledger, job: Job, out: Path | None, as_json: bool) -> None:
    """Carry out a claimed attack, and tell its result.  Ctrl-C keeps the best guess so far."""
    stopped = False
    try:
        with Progress(*_columns(), console=screen, transient=True, disable=as_json) as progress:
            task = progress.add_task(job.order.spy.kind)
            with closing(attacked(ledger, job)) as glimpses:
                for glimpse in glimpses:
                    progress.update(task, completed=glimpse.step, total=glimpse.steps)
    except KeyboardInterrupt:
        stopped = True
    ended = ledger.store.job(job.id) if stopped else _ended(ledger.store, job.id)
    if ended.result is None:
        screen.print("leaklab: stopped before the attack had anything to say")
        sys.exit(130)
    if out:
        write_attack(ledger.store, ended, out)
    result = Result.read(ended.result)
    if as_json:
        print(json.dumps({"id": ended.id, "run": ended.run} | result.dump()))
    else:
        paper.print("\n".join(result.lines()))
    if stopped:
        sys.exit(130)


@app.command()
def sweep(
    file: Annotated[Path, typer.Argument(metavar="FILE.toml", help="a sweep")],
    sets: Sets = None,
    out: Out = None,
    as_json: Json = False,
) -> None:
    """Run a table of experiments, attacked or not, and show the worst of each row.

    Ctrl-C stops it, and the same command carries it on.
    """
    grid = Grid(Store(), Sweep.from_file(file).changed(parse_pairs(sets or [])))
    try:
        with (
            Progress(*_columns(), console=screen, transient=True, disable=as_json) as progress,
            closing(carried_out(grid, most_workers())) as steps,
        ):
            task = progress.add_task("runs")
            for now in steps:
                progress.update(task, completed=now.done, total=now.total)
    except KeyboardInterrupt:
        screen.print("leaklab: stopped; the same command carries on")
        sys.exit(130)
    found = grid.tally()
    if out:
        from lab.report import render_sweep  # as late as possible: figures take their time to load

        pictures = grid.pictures()
        page = render_sweep(found, pictures)
        write_sweep(grid.sweep, grid.outcomes(), page, out, pictures)
    if as_json:
        print(json.dumps(results(found)))
    else:
        _print_tally(found)
    if grid.progress().failed:
        sys.exit(1)


@app.command()
def account(
    rate: Annotated[float, typer.Option(help="chance that a record is in a sample, above 0, to 1")],
    steps: Annotated[int, typer.Option(help="releases, such as local steps or rounds")],
    delta: Annotated[float, typer.Option(help="chance that the guarantee fails, between 0 and 1")],
    noise: Annotated[float | None, typer.Option(help="multiplier; asks for epsilon")] = None,
    epsilon: Annotated[float | None, typer.Option(help="target; asks for the noise")] = None,
    accountant: Annotated[str, typer.Option(help=f"one of {', '.join(ACCOUNTANTS)}")] = "pld",
    as_json: Json = False,
) -> None:
    """What a Gaussian mechanism on Poisson samples guarantees, or the noise that it needs."""
    asked = Question.read(
        {"rate": rate, "steps": steps, "delta": delta, "accountant": accountant}
        | _without_none({"noise": noise, "epsilon": epsilon})
    )
    name, value = asked.answer()
    if as_json:
        print(json.dumps({name: value}))
        return
    given = f"noise {noise:g}" if noise is not None else f"epsilon {epsilon:g}"
    paper.print(
        f"{name} {value:.6g} for {given}: {steps} releases on Poisson samples of rate {rate:g}, at "
        f"delta {delta:g}, one record added or removed, by {accountant}"
    )


@app.command()
def runs(as_json: Json = False) -> None:
    """List the runs of the store, the newest first."""
    found = Store().runs()
    if as_json:
        print(json.dumps([_summary(job) for job in found]))
        return
    listed = Table("run", "status", "rounds", "what", box=None)
    for job in found:
        listed.add_row(job.id, job.status, str(job.round), job.experiment.title())
    paper.print(listed)


@app.command()
def show(id: Id, as_json: Json = False) -> None:
    """One run: its experiment, its last round, the attacks on it."""
    store = Store()
    job, rounds, attacks = store.run(id), store.rounds(id), store.attacks_on(id)
    if as_json:
        seen = [{"id": one.id, "status": one.status, "result": one.result} for one in attacks]
        listed = {"rounds": [each.line() for each in rounds], "attacks": seen}
        print(json.dumps(_summary(job) | {"experiment": job.body} | listed))
        return
    paper.print(f"run {id}: {job.status} after {job.round} rounds. {job.message}\n")
    paper.print(job.experiment.to_toml())
    for each in rounds[-1:]:
        paper.print(_sentence(each))
    paper.print("\n".join(_privacy(job)))
    for one in attacks:
        paper.print(f"\nattack {one.id}: {one.order.spy.kind}, {one.status}. {one.message}")
        paper.print("\n".join(Result.read(one.result).lines()) if one.result else "")
    paper.print("\n" + job.experiment.command())


@app.command()
def report(
    id: Id,
    out: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.html")],
) -> None:
    """Write a page that holds everything of a run, figures included, and needs nothing else."""
    from lab.report import write_report  # as late as possible: figures take their time to load

    write_report(Store(), id, out)
    paper.print(f"{out}")


@app.command(name="list")
def list_(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="such as rules")] = None,
    as_json: Json = False,
) -> None:
    """List the parts there are: name, one line, source, settings with bounds."""
    chosen = {one: list(entries(one)) for one in (tables() if name is None else [name])}
    if as_json:
        print(json.dumps(chosen if name is None else chosen[name]))
        return
    for one, found in chosen.items():
        paper.print(f"{one.upper()}")
        for entry in found:
            source = f" [{entry['source']}]" if entry["source"] else ""
            paper.print(f"  {entry['name']}: {entry['about']}{source}")
            for note, words in entry["notes"].items():
                paper.print(f"      {note} {words}")
            for setting, field in entry["settings"].items():
                paper.print(f"      {setting} = {_field(field)}")


@app.command()
def schema() -> None:
    """The JSON schema of an experiment file."""
    print(json.dumps(Experiment.model_json_schema(), indent=2))


@app.command(name="app")
def app_(
    host: Annotated[str, typer.Option(help="address to serve on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
) -> None:
    """Open the lab in a browser."""
    Store()  # what is wrong with the store or the environment is told here, in a line or two
    most_workers(), longest_idle()
    os.chdir(ROOT)  # which holds .streamlit/config.toml: no telemetry, no e-mail prompt
    from streamlit.web.cli import main as streamlit

    script = str(ROOT / "lab" / "app.py")
    streamlit(["run", script, "--server.address", host, "--server.port", str(port)])


@app.command(name="work", hidden=True)
def work_(token: str) -> None:
    """A worker of the app's queue."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    work(Store(), token)


def main() -> None:
    """What the user has to mend ends with exit code 2 and a line or two."""
    try:
        app()
    except SettingError as error:
        screen.print(f"leaklab: {error}")
        sys.exit(2)
    except BrokenPipeError:  # whoever read our output has left
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _privacy(job: Job) -> list[str]:
    """What its rounds guarantee, and what a reader should know besides."""
    return [promise(job.experiment, job.round), *cautions(job.experiment, job.round)]


def _guarantee(job: Job) -> dict[str, Any]:
    """All that makes an epsilon mean something; nothing where there is none."""
    found = spent(job.experiment, job.round) if job.round else None
    return {"guarantee": found.dump()} if found else {}


def _carry_on(ledger: Ledger, job: Job, out: Path | None, as_json: bool) -> None:
    total = job.experiment.at(job.round + 1).training.rounds
    try:
        with Progress(*_columns(), console=screen, transient=True, disable=as_json) as progress:
            task = progress.add_task("training", total=total, completed=job.round)
            for each in pull(ledger, job):
                progress.update(task, completed=each.record.round, description=_sentence(each))
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
            paper.print(_sentence(each))
        paper.print("\n".join(_privacy(ended)))
        paper.print(f"run {job.id}")
    _ended(ledger.store, job.id)


def _print_tally(found: Tally) -> None:
    """As wide as it must be, so that a pipe gets every number."""
    listed = Table("", *(variant.label for variant in found.sweep.columns), "worst", box=None)
    for line, worst in zip(found.entries, found.worst, strict=True):
        listed.add_row(line[0].row, *(entry.told() for entry in line), worst.told())
    wide = Measurement.get(paper, paper.options.update(max_width=10_000), listed).maximum
    Console(highlight=False, markup=False, width=max(wide, paper.width)).print(listed)
    paper.print("\n".join(["", found.caption(), *found.reasons()]))
    if found.sweep.lesson:
        lesson = lesson_of(found)
        paper.print("\n".join(["", lesson.sentence, *lesson.lines(), lesson.rule]))


def _ended(store: Store, id: str) -> Job:
    """The job, if it came to its end.  Raises SettingError with what stopped it."""
    job = store.job(id)
    if job.status != "finished":
        raise SettingError(f"{job.kind} {id} was {job.status}: {job.message}")
    return job


def _columns() -> tuple[Any, ...]:
    words = TextColumn("{task.description}")
    return words, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()


def _summary(job: Job) -> dict[str, Any]:
    known = {"run": job.id, "status": job.status, "message": job.message, "rounds": job.round}
    return known | {"created": job.created, "title": job.experiment.title()}


def _sentence(each: Round) -> str:
    record = each.record
    spent = "" if record.epsilon is None else f", epsilon {record.epsilon:.3g} spent"
    backdoor = "" if record.backdoor is None else f", backdoor {record.backdoor:.1%}"
    return f"round {record.round}: accuracy {record.accuracy:.1%}{spent}{backdoor}"


def _field(field: dict[str, Any]) -> str:
    bounds = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
    }
    told = " ".join(f"{word} {field[name]}" for name, word in bounds.items() if name in field)
    return f"{write_value(field.get('default', ''))}  ({told}; {field.get('description')})"


def _without_none(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}


if __name__ == "__main__":
    main()
