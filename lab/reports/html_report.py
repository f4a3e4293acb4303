"""Reports: one self-contained HTML page with all of a run, or of a sweep."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader
from plotly.io import to_html

from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import gives_away, promise
from lab.engine.evaluation.fairness import told
from lab.figures.example_images import data_uri
from lab.figures.style import buttons, on_paper
from lab.reports import report_figures
from lab.reports.comparison import Side, differences, outcome, read_of
from lab.reports.leak_gallery import Pictures, fragment
from lab.scoring.attack_result import AttackResult
from lab.scoring.reconstruction.image_score import ImageScore
from lab.storage.job import Job
from lab.storage.joint_guarantee import together
from lab.storage.store import Store
from lab.storage.visitors import NOBODY
from lab.sweeps.lesson import lesson_of
from lab.sweeps.result_table import ResultTable
from lab.sweeps.tradeoff import MEASURES, Point, reasons, sentences, table
from lab.sweeps.tradeoff_study import Study

PAGES = Environment(loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True)


def write_report(store: Store, run_id: str, target: Path) -> None:
    """Raises SettingError when the run is unknown or the file cannot be written."""
    page = render(store, run_id)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"--output {target} cannot be written: {error.strerror}") from None


def render(store: Store, run_id: str, names: Sequence[str] = NOBODY) -> str:
    """The page.  plotly's script comes with the first figure, so nothing is loaded from outside.

    names: whose attacks on uploaded pictures are in it, too, as in `Store.attacks_on`
    """
    job, rounds = store.run(run_id), store.rounds(run_id)
    records = [each.record for each in rounds]
    experiment = job.experiment
    if not records:
        raise SettingError(f"run {run_id} has finished no round yet, so there is nothing to report")
    attacks = [_attack(store, one) for one in store.attacks_on(run_id, names) if one.result]
    return PAGES.get_template("report.html").render(
        job=job,
        note=store.notes().get(run_id, ""),
        curves=_all(report_figures.of_run(job, records, read_of(store, run_id))),
        told=told(records[-1]),
        attacks=attacks,
        guarantee=promise(experiment, job.round),
        beside=together(store, job).sentence,
        warning=gives_away(experiment),
    )


def render_sweep(tally: ResultTable, pictures: Pictures | None = None) -> str:
    """The page of a sweep: heat map or pictures, the same as a table, and the sweep itself.

    pictures: of the attacks, where what leaks is measured
    """
    drawn = _all(report_figures.of_sweep(tally)) or [fragment(tally, pictures or {})]
    return PAGES.get_template("sweep.html").render(
        tally=tally,
        title=tally.sweep.title or "A sweep",
        figure=drawn[0],
        lesson=lesson_of(tally) if tally.sweep.lesson else None,
    )


def render_study(study: Study, found: Sequence[Point]) -> str:
    """The page of a study: a picture and its sentences for each measure, and all as a table."""
    there = [name for name in MEASURES if any(name in point.leaks for point in found)]
    drawn = [
        {
            "title": MEASURES[name].title,
            "figure": figure,
            "told": list(sentences(study, found, name)),
        }
        for name, figure in zip(there, _all(report_figures.of_study(study, found)), strict=True)
    ]
    rows = table(study, found, there[0] if there else "auc")
    return PAGES.get_template("tradeoff.html").render(
        study=study, drawn=drawn, rows=rows, reasons=reasons(found)
    )


def render_comparison(found: Sequence[Side]) -> str:
    """The page of several runs beside each other."""
    rows = [outcome(side) for side in found]
    names = dict.fromkeys(name for row in rows for name in row)
    return PAGES.get_template("comparison.html").render(
        sides=found,
        curves=_all(report_figures.of_comparison(found)),
        outcomes={name: [row.get(name, "") for row in rows] for name in names},
        apart=differences([side.job.experiment for side in found]),
    )


def _attack(store: Store, job: Job) -> dict[str, Any]:
    result = AttackResult.read(job.result)
    pictures = store.arrays.get(store.sights(job.id)[-1].arrays)
    uris = {
        name: [data_uri(picture) for picture in several]
        for name, several in pictures.items()
        if several.ndim == 4
    }
    images = result.find(ImageScore)
    captions = images.captions() if "private" in uris and images else []
    pairs = [(uris["private"].pop(0), uris["guess"].pop(0), caption) for caption in captions]
    return {
        "images": images,
        "result": result,
        "pairs": pairs,
        "pictures": uris,
        "figures": [
            _html(f"{job.order.attack.kind}-{name}", figure)
            for name, figure in report_figures.of_attack(store, job).items()
        ],
    }


def _all(drawn: report_figures.Figures) -> list[str]:
    """plotly's script comes with the first."""
    return [_html(name, figure, place == 0) for place, (name, figure) in enumerate(drawn.items())]


def _html(name: str, figure: go.Figure, first: bool = False) -> str:
    return str(
        to_html(on_paper(figure), full_html=False, include_plotlyjs=first, config=buttons(name))
    )
