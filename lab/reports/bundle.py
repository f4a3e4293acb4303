"""Bundles: all of a run, of several beside each other, or of a table of runs, as files.

The experiments, their records in four formats, the model, the report, the results of attacks, the
command lines that give the same numbers, and a notebook that does; with `illustrated`, every
figure of the report as SVG and PNG too.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from safetensors.torch import save

from lab.common.settings import SettingError
from lab.common.settings_text import LAST
from lab.figures.image_files import prints
from lab.reports import report_figures
from lab.reports.comparison import Side, differences, outcome
from lab.reports.html_report import render, render_comparison, render_study, render_sweep
from lab.reports.leak_gallery import poster
from lab.reports.notebook import notebook, notebook_of_several
from lab.reports.result_files import results, sheet_of
from lab.reports.spreadsheets import columnar, comma_separated, inert
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.visitors import NOBODY
from lab.sweeps import tradeoff
from lab.sweeps.cell_result import CellResult
from lab.sweeps.result_table import lines
from lab.sweeps.tradeoff_study import Study

STAMP = (1980, 1, 1, 0, 0, 0)  # the same run gives the same bytes
MISSING = "figures/missing.txt"
Files = dict[str, bytes]


def bundle(store: Store, job: Job, names: Sequence[str] = NOBODY) -> Files:
    """By file name.  Raises SettingError for a run without a finished round.

    names: whose attacks on uploaded pictures are in it, too, as in `Store.attacks_on`
    """
    page, note = render(store, job.id, names), store.notes().get(job.id, "")
    attacks = [one for one in reversed(store.attacks_on(job.id, names)) if one.result]
    commands = [job.experiment.command(), *(one.order.command(LAST) for one in attacks)]
    found = {
        "experiment.toml": job.experiment.to_toml().encode(),
        "command.txt": _lines(commands),
        **_records([each.line() for each in store.rounds(job.id)]),
        "attacks.json": json.dumps([one.result for one in attacks], indent=2).encode(),
        "model.safetensors": save({"model": StoredRun(store, job.id).state().model}),
        "notebook.ipynb": json.dumps(notebook(job, attacks, note), indent=1).encode(),
        "report.html": page.encode(),
    }
    return found | ({"note.txt": note.encode()} if note else {})


def illustrated(store: Store, job: Job, names: Sequence[str] = NOBODY) -> Files:
    """The same with figures."""
    sheets = {}
    for name, attack in report_figures.attacks_by_name(store, job, names).items():
        if sheet := sheet_of(store.arrays.get(store.sights(attack.id)[-1].arrays)):
            sheets[f"figures/{name}-pictures.png"] = sheet
    drawn = report_figures.all_of(store, job, names)
    return bundle(store, job, names) | sheets | _figures(drawn)


def joint(store: Store, sides: Sequence[Side]) -> Files:
    """All of several runs beside each other, figures included."""
    told = {side.job.id: [each.line() for each in store.rounds(side.job.id)] for side in sides}
    experiments = {side.job.id: side.job.experiment for side in sides}
    return {
        "report.html": render_comparison(sides).encode(),
        "runs.csv": comma_separated(_outcomes(sides)),
        "command.txt": _lines([one.command() for one in experiments.values()]),
        "notebook.ipynb": json.dumps(notebook_of_several(sides), indent=1).encode(),
        **_records([{"run": id} | line for id, some in told.items() for line in some]),
        **{f"experiments/{id}.toml": one.to_toml().encode() for id, one in experiments.items()},
        **_figures(report_figures.of_comparison(sides)),
    }


def swept(grid: SweepRuns) -> Files:
    """All of a sweep.  Its page is heat.html; of what leaked leaks.html, beside leaks.png."""
    sweep, outcomes, found, pictures = grid.sweep, grid.outcomes(), grid.tally(), grid.pictures()
    page = render_sweep(found, pictures).encode()
    leaks = sweep.measure == "leak"
    return {
        "sweep.toml": sweep.to_toml().encode(),
        "results.json": json.dumps(results(found), indent=2).encode(),
        "runs.csv": _csv(list(lines(sweep, outcomes))),
        **({"leaks.html": page, "leaks.png": poster(found, pictures)} if leaks else {}),
        **({} if leaks else {"heat.html": page} | _figures(report_figures.of_sweep(found))),
    }


def studied(study: Study, outcomes: Mapping[str, CellResult]) -> Files:
    """All of a study; its page is tradeoff.html."""
    found = tradeoff.points(study, outcomes)
    return {
        "study.toml": study.to_toml().encode(),
        "results.json": json.dumps(tradeoff.results(study, found), indent=2).encode(),
        "runs.csv": _csv(list(lines(study.sweep, outcomes))),
        "tradeoff.html": render_study(study, found).encode(),
        **_figures(report_figures.of_study(study, found)),
    }


def zipped(files: Mapping[str, bytes]) -> bytes:
    """One archive of them."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, STAMP), content, zipfile.ZIP_DEFLATED)
    return target.getvalue()


def _records(rows: Sequence[Mapping[str, Any]]) -> Files:
    return {
        "records.json": json.dumps(rows).encode(),
        "records.jsonl": _lines([json.dumps(row) for row in rows]),
        "records.csv": comma_separated(rows),
        "records.parquet": columnar(rows),
    }


def _csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    table = io.StringIO()
    writer = csv.DictWriter(table, list(rows[0]))
    writer.writeheader()
    writer.writerows({name: inert(value) for name, value in row.items()} for row in rows)
    return table.getvalue().encode()


def _outcomes(sides: Sequence[Side]) -> list[dict[str, str]]:
    """A line for each run: what it is, in what it differs, and what came of it."""
    apart = differences([side.job.experiment for side in sides])
    return [
        {"run": side.job.id, "name": side.name, "what": side.job.experiment.title()}
        | {path: values[place] for path, values in apart.items()}
        | {f"came to: {name}": value for name, value in outcome(side).items()}
        | {"attacks": "\n".join(side.leaks), "note": side.note}
        for place, side in enumerate(sides)
    ]


def _figures(drawn: report_figures.Figures) -> Files:
    """In a folder of their own; where no browser can draw them, a file says what to install."""
    if not drawn:
        return {}
    try:
        return {f"figures/{name}": content for name, content in prints(drawn).items()}
    except SettingError as error:
        return {MISSING: _lines([str(error)])}


def _lines(texts: Sequence[str]) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()
