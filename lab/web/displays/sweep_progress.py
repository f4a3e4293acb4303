"""Beside any sweep: how far it is, how long it waits, and the buttons that start and stop it."""

from __future__ import annotations

import streamlit as st

from lab.storage.sweep_runs import SweepProgress, SweepRuns
from lab.storage.visitors import identities
from lab.web.visitor import catch_refusals, show_refusal, visitor


def progress(grid: SweepRuns, standing: SweepProgress) -> None:
    before = grid.before() if standing.open else 0
    waits = f"; {before} before the next of them" if before else ""
    share = standing.done / standing.total
    st.progress(share, f"{standing.done} of {standing.total} runs are done{waits}")


def buttons(grid: SweepRuns, standing: SweepProgress, start: str, stop: str, key: str) -> bool:
    """Whatever can be done now.  -> whether there is something to start

    start, stop: what stands on them
    """
    mine = grid.wanted(identities(visitor()))
    if mine:
        st.button(stop, key=f"stop {key}", on_click=_stop, args=(grid,))
    others = standing.open - mine
    again = standing.failed and not standing.open
    startable = bool(standing.stopped or others or again)
    if startable:
        st.button(start, key=f"run {key}", type="primary", on_click=_start, args=(grid, key))
        if others:
            st.caption(
                "Somebody else has asked for some of these runs, and you will see what comes of "
                "them. Ask as well, and they go on even if that visitor leaves."
            )
    show_refusal(key)
    return startable


def _start(grid: SweepRuns, key: str) -> None:
    with catch_refusals(key):
        grid.start(visitor=visitor())


def _stop(grid: SweepRuns) -> None:
    """Takes back what this visitor asked for, and nobody else's wishes."""
    with catch_refusals():
        grid.cancel(identities(visitor()))
