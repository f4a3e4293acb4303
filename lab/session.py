"""What the pages share: the store, its workers, and which run this browser is looking at."""

from __future__ import annotations

import os

import streamlit as st

from lab.experiment import Experiment
from lab.jobs import Supervisor
from lab.portrait import Portrait, portrait
from lab.settings import SettingError
from lab.store import Job, Store

WORKERS = "LEAKLAB_WORKERS"  # how many worker processes; by default one a core
STATUS = {  # a sign and a word, never a colour alone
    "queued": "◔ queued",
    "running": "● running",
    "paused": "❚❚ paused",
    "stopped": "■ stopped",
    "finished": "✔ finished",
    "failed": "✖ failed",
}


@st.cache_resource
def store() -> Store:
    """One for all sessions of this server.  Raises StoreError."""
    return Store()


@st.cache_resource
def supervisor() -> Supervisor:
    """Starts the workers; a page calls it before it needs them."""
    given = os.environ.get(WORKERS)
    return Supervisor(store(), most=int(given) if given else None)


def picture_of(experiment: Experiment) -> Portrait:
    """The federation of an experiment, computed once."""
    return _portrait(experiment.at(1).to_json())


@st.cache_data(max_entries=64, show_spinner=False)
def _portrait(text: str) -> Portrait:
    return portrait(Experiment.from_json(text))


def look_at(run: str | None) -> None:
    """Remember the run on all pages, and in the address, so that a copied link shows it too."""
    st.session_state["run"] = run
    if run is None:
        st.query_params.pop("run", None)
    elif st.query_params.get("run") != run:
        st.query_params.from_dict({"run": run})


def looked_at() -> Job | None:
    """The run of the address, or the one seen last; says so where there is none of that id."""
    run = st.query_params.get("run") or st.session_state.get("run")
    if not run:
        return None
    try:
        job = store().run(run)
    except SettingError as error:
        st.warning(str(error))
        look_at(None)
        return None
    look_at(run)
    return job


def pick_run() -> Job | None:
    """A select box of all runs that have finished a round; explains what to do without any."""
    found = {job.id: job for job in store().runs() if job.round}
    if not found:
        st.info("There is no run to attack yet: start one on the Live page first.")
        return None
    now = looked_at()
    ids = list(found)
    chosen = st.selectbox(
        "Run",
        ids,
        index=ids.index(now.id) if now and now.id in found else 0,
        format_func=lambda id: f"{id}: {found[id].experiment.title()}, {found[id].round} rounds",
        key="picked run",
    )
    look_at(chosen)
    return found[chosen]
