"""Questions that need no run: what a guarantee costs, and which parts there are."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from lab.catalog import entries, tables
from lab.cli.output import Json, paper, without_none
from lab.common.settings_text import write_value
from lab.experiment.experiment import Experiment
from lab.privacy.accounting.accountants import ACCOUNTANTS, Question


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
        | without_none({"noise": noise, "epsilon": epsilon})
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


def list_(
    name: Annotated[str | None, typer.Argument(metavar="[TABLE]", help="such as rules")] = None,
    as_json: Json = False,
) -> None:
    """List all parts: name, title, one line, source, settings with bounds."""
    chosen = {one: list(entries(one)) for one in (tables() if name is None else [name])}
    if as_json:
        print(json.dumps(chosen if name is None else chosen[name]))
        return
    for one, found in chosen.items():
        paper.print(f"{one.upper()}")
        for entry in found:
            source = f" [{entry['source']}]" if entry["source"] else ""
            paper.print(f"  {entry['name']} ({entry['title']}): {entry['about']}{source}")
            for note, words in entry["notes"].items():
                paper.print(f"      {note} {words}")
            for setting, field in entry["settings"].items():
                paper.print(f"      {setting} = {_field(field)}")


def _field(field: dict[str, Any]) -> str:
    bounds = {
        "minimum": "from",
        "exclusiveMinimum": "above",
        "maximum": "to",
        "exclusiveMaximum": "below",
    }
    told = " ".join(f"{word} {field[name]}" for name, word in bounds.items() if name in field)
    return f"{write_value(field.get('default', ''))}  ({told}; {field.get('description')})"


def schema() -> None:
    """The JSON schema of an experiment file."""
    print(json.dumps(Experiment.model_json_schema(), indent=2))
