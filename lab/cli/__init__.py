"""The command line: the same experiments and the same numbers, without a browser."""

from __future__ import annotations

import os
import sys

import typer

from lab.cli import attacks, info, runs, serve, stored_runs, sweeps
from lab.cli.output import screen
from lab.common.settings import SettingError

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, rich_markup_mode=None)
for command in (  # in the order of --help
    runs.run,
    runs.resume,
    attacks.attack,
    attacks.audit,
    attacks.invert,
    sweeps.sweep,
    sweeps.tradeoff,
    info.account,
    stored_runs.runs,
    stored_runs.show,
    stored_runs.report,
    stored_runs.export,
    stored_runs.compare,
    stored_runs.note,
    stored_runs.delete,
    info.list_,
    info.schema,
    serve.app,
):
    app.command(command.__name__.rstrip("_"))(command)
app.command(hidden=True)(serve.work)


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
