"""Notebooks: runs once more in Jupyter, with the same numbers, and the attacks on them."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from lab.reports.comparison import Side
from lab.storage.job import Job

Cell = dict[str, Any]
SETUP = "# pip install -e . in Leaklab's folder\n"
STORED = """from collections import deque
from tempfile import mkdtemp

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.scoring.attack_result import AttackResult
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

store = WorkerStore(Store(f"sqlite:///{mkdtemp()}/leaklab.db"))  # your own runs are left alone
job = store.start(experiment)
deque(carry_out_run(store, job), maxlen=0)
results = []"""


def notebook(job: Job, attacks: Sequence[Job] = (), note: str = "") -> dict[str, Any]:
    """A Jupyter notebook (format 4.5) that runs the experiment and its attacks once more."""
    cells = [
        _words(
            f"# {escape(job.experiment.title())}\n\n"
            f"The same numbers as run `{job.id}` of Leaklab." + _noted(note)
        ),
        _code(
            f"{SETUP}from lab import Experiment, figures, run\n\n"
            f"experiment = Experiment.from_toml({job.experiment.to_toml()!r})"
        ),
        _code(
            "moments = []\n"
            "for moment in run(experiment):\n"
            "    moments.append(moment)\n"
            '    print(f"round {moment.record.round}: accuracy {moment.record.accuracy:.3f}")'
        ),
        _words("The accuracy, round by round:"),
        _code(
            "figures.curves([moment.record for moment in moments], experiment.changes, "
            "len(moments))"
        ),
        *_attacks(attacks),
    ]
    return _bound(cells)


def notebook_of_several(sides: Sequence[Side]) -> dict[str, Any]:
    """The same for runs beside each other, without attacks."""
    listed = "\n".join(
        f"    {side.name!r}: Experiment.from_toml({side.job.experiment.to_toml()!r}),"
        for side in sides
    )
    told = "\n\n".join(
        f"`{side.job.id}`: {escape(side.job.experiment.title())}{_noted(side.note)}"
        for side in sides
    )
    cells = [
        _words(f"# {len(sides)} runs beside each other\n\n{told}"),
        _code(f"{SETUP}from lab import Experiment, figures, run\n\nexperiments = {{\n{listed}\n}}"),
        _code(
            "records = {}\n"
            "for name, experiment in experiments.items():\n"
            "    records[name] = [moment.record for moment in run(experiment)]\n"
            '    print(f"{name}: accuracy {records[name][-1].accuracy:.3f}")'
        ),
        _code("figures.compared(records)"),
    ]
    return _bound(cells)


def _attacks(attacks: Sequence[Job]) -> list[Cell]:
    again = [one for one in attacks if one.order.picture is None]
    left = len(attacks) - len(again)
    told = f"\n\nLeft out, as their pictures are not in here: {left}." if left else ""
    if not again:
        return [_words(f"## Attacks{told}")] if left else []
    words = "## Attacks\n\nThey look at a stored run, so this one is made once more." + told
    return [_words(words), _code(STORED), *(_code(_attack(one)) for one in again)]


def _attack(job: Job) -> str:
    return (
        f"request = AttackRequest.read({job.order.dump()!r})\n"
        "attack = store.start_attack(job.id, request)\n"
        "deque(carry_out_attack(store, attack), maxlen=0)\n"
        "results.append(AttackResult.read(store.store.job(attack.id).result))\n"
        'print("\\n".join(results[-1].lines()))'
    )


def _noted(note: str) -> str:
    """A user's words.  As they are, they could be Markdown that loads pictures from elsewhere."""
    return f"\n\n<pre>{escape(note)}</pre>" if note else ""


def _bound(cells: Sequence[Cell]) -> dict[str, Any]:
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {
        "cells": [cell | {"id": f"cell-{place}"} for place, cell in enumerate(cells)],
        "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def _words(text: str) -> Cell:
    return {"cell_type": "markdown", "metadata": {}, "source": text}


def _code(text: str) -> Cell:
    empty: Cell = {"execution_count": None, "outputs": []}
    return {"cell_type": "code", "metadata": {}, "source": text} | empty
