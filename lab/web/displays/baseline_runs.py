"""What a run is measured against: all data in one place, and every client alone."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.engine.evaluation.record import RoundRecord
from lab.experiment.baselines import NAMES, baselines
from lab.storage.job import Job
from lab.web.run_picker import visible_runs
from lab.web.session import rounds_of, store
from lab.web.visitor import started


def busy(job: Job) -> bool:
    """Whether a baseline of this run is at work."""
    return any(store().run(id).active for id in _beside(job).values())


def offered(place: DeltaGenerator, job: Job) -> dict[str, list[RoundRecord]]:
    """The rounds of the baselines of this run, and the button that starts them."""
    if not job.experiment.at(1).training.algorithm.talks:
        return {}
    known = _beside(job)
    if len(known) < len(NAMES):
        place.button(
            "Compare with baselines",
            on_click=_start,
            args=(job,),
            help="Trains on all data in one place, and every client alone, beside this run",
        )
    return {name: [each.record for each in rounds_of(id)] for name, id in known.items()}


def _beside(job: Job) -> dict[str, str]:
    """The ids of the baselines of this run, as far as they were ever started, by name."""
    key = f"baselines of {job.id}"
    if key not in st.session_state:
        runs = {each.experiment: each.id for each in reversed(visible_runs())}
        wanted = baselines(job.experiment)
        st.session_state[key] = {name: runs[each] for name, each in wanted.items() if each in runs}
    known: dict[str, str] = st.session_state[key]
    return known


def _start(job: Job) -> None:
    known = _beside(job)
    for name, experiment in baselines(job.experiment).items():
        if name not in known and (run := started(experiment)):
            known[name] = run
