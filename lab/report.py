"""Reports: one self-contained HTML page with all of a run, or of a sweep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment
from plotly.io import to_html

from lab import figures
from lab.accountant import promise
from lab.fairness import told
from lab.gallery import Pictures, fragment
from lab.lesson import lesson_of
from lab.pictures import data_uri
from lab.portrait import portrait
from lab.settings import SettingError
from lab.store import Job, Store
from lab.tally import Tally
from lab.trial import Result, ceiling_of

PAGE = Path(__file__).with_suffix(".html")
PAGE_OF_SWEEP = Path(__file__).with_name("sweep.html")


def write_report(store: Store, run_id: str, target: Path) -> None:
    """Raises SettingError when the run is unknown or the file cannot be written."""
    page = render(store, run_id)
    try:
        target.write_text(page, encoding="utf-8")
    except OSError as error:
        raise SettingError(f"--output {target} cannot be written: {error.strerror}") from None


def render(store: Store, run_id: str) -> str:
    """The page.  plotly's script comes with the first figure, so nothing is loaded from outside."""
    job, rounds = store.run(run_id), store.rounds(run_id)
    records = [each.record for each in rounds]
    experiment = job.experiment
    if not records:
        raise SettingError(f"run {run_id} has finished no round yet, so there is nothing to report")
    drawn = [
        figures.curves(records, experiment.changes, experiment.training.rounds),
        figures.federation(portrait(experiment.at(job.round)), records[-1]),
        figures.traffic(records),
        figures.fairness(records[-1]),
        *([figures.moved(records[-1])] if records[-1].influence else []),
    ]
    curves = [_html(figure, first=place == 0) for place, figure in enumerate(drawn)]
    attacks = [_attack(store, one) for one in store.attacks_on(run_id) if one.result]
    return (
        Environment(autoescape=True)
        .from_string(PAGE.read_text(encoding="utf-8"))
        .render(
            job=job,
            curves=curves,
            told=told(records[-1]),
            attacks=attacks,
            guarantee=promise(experiment, job.round),
        )
    )


def render_sweep(tally: Tally, pictures: Pictures | None = None) -> str:
    """The page of a sweep: heat map or pictures, the same as a table, and the sweep itself.

    pictures: of the attacks, where what leaks is measured
    """
    leaks = tally.sweep.measure == "leak"
    figure = fragment(tally, pictures or {}) if leaks else _html(figures.heat(tally), first=True)
    return (
        Environment(autoescape=True)
        .from_string(PAGE_OF_SWEEP.read_text(encoding="utf-8"))
        .render(
            tally=tally,
            title=tally.sweep.title or "A sweep",
            figure=figure,
            lesson=lesson_of(tally) if tally.sweep.lesson else None,
        )
    )


def _attack(store: Store, job: Job) -> dict[str, Any]:
    result = Result.read(job.result)
    pictures = store.arrays.get(store.sights(job.id)[-1].arrays)
    drawn = []
    if result.exposure:
        drawn.append(figures.roc(result.exposure, ceiling_of(result.guarantee)))
        drawn.append(figures.histogram(result.exposure))
    uris = {
        name: [data_uri(picture) for picture in several]
        for name, several in pictures.items()
        if several.ndim == 4
    }
    pairs = [
        (uris["private"].pop(0), uris["guess"].pop(0), caption)
        for caption in (result.likeness.captions() if "private" in uris and result.likeness else [])
    ]
    return {
        "result": result,
        "pairs": pairs,
        "pictures": uris,
        "figures": [_html(each) for each in drawn],
    }


def _html(figure: go.Figure, first: bool = False) -> str:
    config = {"displaylogo": False, "responsive": True}
    return str(to_html(figure, full_html=False, include_plotlyjs=first, config=config))
