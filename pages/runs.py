"""Runs: find them again, set them beside each other, note what they showed, take them away."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import Any

import streamlit as st

from lab import ROOT
from lab.common.settings import SettingError
from lab.reports.bundle import bundle, illustrated, joint, zipped
from lab.reports.comparison import MOST, Side, differences, outcome, sides
from lab.reports.html_report import render_comparison
from lab.reports.report_figures import of_comparison
from lab.storage.administration import delete_runs
from lab.storage.job import Job
from lab.storage.run_commands import LONGEST_NOTE, RunCommands
from lab.web.displays.chart import draw
from lab.web.displays.download import everything
from lab.web.plain_text import plain
from lab.web.run_picker import open_run, visible_runs
from lab.web.session import STATUS, store
from lab.web.visitor import may_command, own_names

KINDS = {  # of a file, for the browser
    "html": "text/html",
    "csv": "text/csv",
    "json": "application/json",
    "toml": "application/toml",
}
State = tuple[int, str, tuple[str, ...], str]  # round, status, ids of attacks, note
SINGLE = (
    "report.html",
    "experiment.toml",
    "records.csv",
    "records.json",
    "records.parquet",
    "notebook.ipynb",
)


def page() -> None:
    st.header("Runs", anchor=False)
    runs, notes = visible_runs(), store().notes()
    if not runs:
        st.info("There is no run yet: start one on the Live page.")
        return
    chosen = _list(_found(runs, notes), notes)
    if not chosen:
        st.caption("Choose a run at the left of its line, or several to compare them.")
    elif len(chosen) == 1:
        _one(chosen[0], notes.get(chosen[0].id, ""))
    else:
        _several(chosen)


def _found(runs: list[Job], notes: dict[str, str]) -> list[Job]:
    """Those in whose id, title or note every word that is looked for occurs."""
    words = st.text_input("Search", placeholder="dirichlet epsilon").lower().split()
    texts = {job.id: f"{job.id} {job.experiment.title()} {notes.get(job.id, '')}" for job in runs}
    return [job for job in runs if all(word in texts[job.id].lower() for word in words)]


def _list(runs: list[Job], notes: dict[str, str]) -> list[Job]:
    """A table with a box at each line.  -> those chosen"""
    picked = st.dataframe(
        [_line(job, notes.get(job.id, "")) for job in runs],
        hide_index=True,
        on_select="rerun",
        selection_mode="multi-row",
        key=f"runs {len(runs)}",
        alt="Runs, one a line",
    )
    places: list[int] = picked["selection"]["rows"]
    return [runs[place] for place in places if place < len(runs)]


def _line(job: Job, note: str) -> dict[str, Any]:
    begun = datetime.fromtimestamp(job.created, UTC).astimezone()
    return {
        "run": job.id,
        "what": job.experiment.title(),
        "status": STATUS[job.status],
        "rounds": job.round,
        "begun": begun.strftime("%Y-%m-%d %H:%M"),
        "note": note,
    }


def _one(job: Job, note: str) -> None:
    st.subheader(job.experiment.title(), anchor=False)
    with st.container(horizontal=True):
        if st.button("Open on the Live page", type="primary"):
            open_run(job.id)
            st.switch_page(ROOT / "pages" / "live.py")
        _delete([job])
    if may_command(job):
        words = st.text_area("Note", note, max_chars=LONGEST_NOTE, key=f"note of {job.id}")
        if words.strip() != note:
            RunCommands(store()).annotate(job.id, words)
            st.rerun()
    if not job.round:
        st.caption("It has finished no round yet, so there is nothing to take along.")
        return
    st.markdown("**Take it along**")
    asked = job.id, _state(job, note), own_names()
    files = _files(*asked)
    with st.container(horizontal=True):
        everything(partial(_archive, *asked), job.id)
        for name in SINGLE:
            kind = KINDS.get(name.rsplit(".", 1)[1], "application/octet-stream")
            st.download_button(name, files[name], f"{job.id}_{name}", kind, on_click="ignore")
    st.caption("The same numbers from the command line:")
    st.code(job.experiment.command(), "bash", wrap_lines=True)


def _state(job: Job, note: str) -> State:
    """Where this is another, the files are others.

    It names the attacks that this visitor may take along, so that visitors share a file only if
    each of them may have all that is in it.
    """
    attacks = store().attacks_on(job.id, own_names())
    return job.round, job.status, tuple(one.id for one in attacks if one.result), note


@st.cache_data(max_entries=8, show_spinner="Writing the report")
def _files(run: str, state: State, _names: tuple[str, ...]) -> dict[str, bytes]:
    return bundle(store(), store().run(run), _names)


@st.cache_data(max_entries=8, show_spinner=False)
def _archive(run: str, state: State, _names: tuple[str, ...]) -> bytes:
    return zipped(illustrated(store(), store().run(run), _names))


def _joint(runs: list[str], names: tuple[str, ...]) -> bytes:
    return zipped(joint(store(), sides(store(), [store().run(run) for run in runs], names)))


def _several(jobs: list[Job]) -> None:
    found = sides(store(), jobs, own_names())
    if len(jobs) > MOST:
        st.warning(f"{len(jobs)} runs are chosen, and the first {MOST} are shown.")
    if len(found) < 2:
        st.info("Fewer than two of them have finished a round.")
        return
    (curves,) = of_comparison(found).values()
    draw(curves, "compared", "Accuracy, loss and epsilon of each run")
    st.markdown("**What came of them**")
    st.dataframe([_outcome(side) for side in found], hide_index=True, alt="What came of them")
    st.markdown("**In what they differ**")
    apart = differences([side.job.experiment for side in found])
    rows = [
        {"setting": path} | {side.name: value for side, value in zip(found, values, strict=True)}
        for path, values in apart.items()
    ]
    if rows:
        st.dataframe(rows, hide_index=True, alt="In what they differ")
    else:
        st.caption("In nothing: they are the same experiment.")
    with st.container(horizontal=True):
        page = render_comparison(found)
        ids = [side.job.id for side in found]
        everything(partial(_joint, ids, own_names()), "comparison")
        st.download_button(
            "report.html", page, "leaklab_comparison.html", "text/html", on_click="ignore"
        )
        _delete(jobs)


def _outcome(side: Side) -> dict[str, str]:
    leaks = {f"attack {place}": told for place, told in enumerate(side.leaks, start=1)}
    return {"run": side.name} | outcome(side) | leaks


def _delete(jobs: list[Job]) -> None:
    """Asks once more; what is at work, or somebody else's, stays."""
    mine = [job for job in jobs if may_command(job) and not job.active]
    with st.popover("Delete", disabled=not mine):
        st.markdown(f"{len(mine)} of them, with all attacks, for good?")
        st.button("Yes, delete", on_click=_gone, args=([job.id for job in mine],))


def _gone(runs: list[str]) -> None:
    open_run(None)
    try:
        mine = [run for run in runs if may_command(store().run(run))]
        st.toast(f"{delete_runs(store(), mine)} deleted")
    except SettingError as error:
        st.error(plain(error))


page()
