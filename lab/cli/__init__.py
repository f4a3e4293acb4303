"""Leaklab's command line: the same experiments and the same numbers, without a browser."""

from __future__ import annotations

import os
import sys

import typer

from lab.cli import asking, attacking, keeping, running, serving, tabling
from lab.cli.shared import screen
from lab.settings import SettingError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, rich_markup_mode=None)
for command in (  # in the order of --help
    running.run,
    running.resume,
    attacking.attack,
    attacking.audit,
    attacking.invert,
    tabling.sweep,
    tabling.tradeoff,
    asking.account,
    keeping.runs,
    keeping.show,
    keeping.report,
    keeping.export,
    keeping.compare,
    keeping.note,
    keeping.delete,
    asking.list_,
    asking.schema,
    serving.app,
):
    app.command(command.__name__.rstrip("_"))(command)
app.command(hidden=True)(serving.work)


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
