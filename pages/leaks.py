"""What leaks when: lessons and tables of attacks, each run by one click and kept."""

from __future__ import annotations

import streamlit as st

from lab.experiment.presets import leaks
from lab.reports.leak_gallery import fragment
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.lesson import lesson_of
from lab.sweeps.result_table import ResultTable
from lab.sweeps.sweep import Sweep
from lab.web.displays import sweep_progress as displays
from lab.web.session import store

EVERY = 1.0  # seconds between two looks at runs that are at work
SIGNS = {"borne out": "✔", "not borne out": "✖", "open": "◔"}  # each beside its words


def page() -> None:
    st.header("What leaks when", anchor=False)
    st.markdown(
        "The same attack under other settings. Each place of a table is a federation that really "
        "runs up to a round, and an attack on what the server received in it: private on the "
        "left, reconstructed on the right. What is finished stays."
    )
    found = {name: Sweep.from_file(path) for name, path in leaks().items()}
    lessons = {name: sweep for name, sweep in found.items() if sweep.lesson}
    tables = {name: sweep for name, sweep in found.items() if not sweep.lesson}
    if tables:
        st.subheader("What it depends on", anchor=False)
        titles = {name: sweep.title for name, sweep in tables.items()}
        name = st.selectbox("Leak by", list(tables), format_func=lambda one: titles[one])
        _watched(name, tables[name])
    if lessons:
        st.subheader("Lessons", anchor=False)
        st.caption(
            "Whether a lesson is borne out follows from what was measured here, by the rule below "
            "it."
        )
    for name, sweep in lessons.items():
        st.markdown(f"#### {sweep.lesson}")
        _watched(name, sweep)


def _watched(name: str, sweep: Sweep) -> None:
    """The table, drawn again every second as long as its runs wait or are at work."""
    grid = SweepRuns(store(), sweep)
    st.fragment(_table, run_every=EVERY if grid.progress().open else None)(name)
    st.code(f"leaklab sweep experiments/leaks/{name}.toml --out {name}", "bash", wrap_lines=True)


def _table(name: str) -> None:
    sweep = Sweep.from_file(leaks()[name])
    grid, asked, key = SweepRuns(store(), sweep), st.session_state, f"open leaks {name}"
    standing = grid.progress()
    if asked.setdefault(key, standing.open > 0) != (standing.open > 0):
        asked[key] = standing.open > 0
        st.rerun()  # starts or stops looking again
    _buttons(name, grid)
    if not standing.open and not standing.done:
        few = "1 short run" if standing.total == 1 else f"{standing.total} short runs"
        st.info(f"Not measured yet: {few} in the background, about a minute.")
        return
    tally = grid.tally()
    if sweep.lesson:
        _judged(tally)
    st.html(fragment(tally, grid.pictures()))
    for reason in tally.reasons():
        st.caption(reason)


def _buttons(name: str, grid: SweepRuns) -> None:
    standing, title = grid.progress(), grid.sweep.title
    if standing.open:
        displays.progress(grid, standing)
    words = f"Measure what is missing: {title}" if standing.done else f"Measure: {title}"
    displays.buttons(grid, standing, words, f"Stop: {title}", name)


def _judged(tally: ResultTable) -> None:
    lesson = lesson_of(tally)
    first, *rest = lesson.lines()
    st.markdown(f"{SIGNS[lesson.state]} **{first}**")
    for line in rest:
        st.markdown(f"- {line}")
    st.caption(lesson.rule)


page()
