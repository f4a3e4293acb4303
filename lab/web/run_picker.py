"""Which run this browser is looking at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import streamlit as st

from lab.common.settings import SettingError
from lab.storage.job import Job
from lab.web.plain_text import plain
from lab.web.session import store
from lab.web.visitor import TROUBLE, visitor


def open_run(run: str | None) -> None:
    """Remember the run on all pages, and in the address, so that a copied link shows it too."""
    if run != st.session_state.get("run"):
        st.session_state.pop(TROUBLE, None)  # it was with another one
    st.session_state["run"] = run
    if run is None:
        st.query_params.clear()
        return
    # With the settings beside, the link means the same on a server that has no such run.
    wanted = {"run": run} | store().run(run).experiment.overrides_as_text()
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def looked_at() -> Job | None:
    """The run of the address, or the one seen last; says so where there is none of that id."""
    run = st.query_params.get("run") or st.session_state.get("run")
    if not run:
        return None
    try:
        job = store().run(run)
    except SettingError as error:
        st.warning(plain(error))
        st.session_state["run"] = None
        st.query_params.pop("run", None)
        return None
    open_run(run)
    return job


def visible_runs() -> list[Job]:
    """The visitor's own runs, and the one that it looks at by a link, the newest first."""
    mine, now = store().runs(visitor=visitor()), looked_at()
    return mine if now is None or now.id in {job.id for job in mine} else [now, *mine]


def run_name(job: Job) -> str:
    """What the run is, how far it came, and when it was started."""
    began = datetime.fromtimestamp(job.created).astimezone()
    rounds = f"{job.round} round{'s' * (job.round != 1)}"
    return f"{job.experiment.title()} · {rounds} · {began:%d %b %Y, %H:%M}"


def run_names(jobs: Iterable[Job]) -> dict[str, str]:
    """The names of runs by their id, each another: of several alike, later ones are numbered."""
    names: dict[str, str] = {}
    seen: Counter[str] = Counter()
    for job in sorted(jobs, key=lambda job: (job.created, job.id)):
        name = run_name(job)
        seen[name] += 1
        names[job.id] = name if seen[name] == 1 else f"{name} ({seen[name]})"
    return names


def pick_run() -> Job | None:
    """A select box of all runs that have finished a round; explains what to do without any."""
    found = {job.id: job for job in visible_runs() if job.round}
    if not found:
        st.info("There is no run to attack yet: start one on the Live page first.")
        return None
    now = looked_at()
    ids = list(found)
    chosen = st.sidebar.selectbox(
        "Run",
        ids,
        index=ids.index(now.id) if now and now.id in found else 0,
        format_func=run_names(found.values()).__getitem__,
        key="picked run",
    )
    open_run(chosen)
    return found[chosen]


def pick_round(job: Job, past: list[Job]) -> int:
    """A slider over the finished rounds, at first where the last attack was, or at the end."""
    if job.round == 1:
        st.caption("Round 1 is the only one finished so far.")
        return 1
    start = min(past[0].order.round, job.round) if past else job.round
    return st.slider("Round", 1, job.round, start, key=f"round of {job.id}")
