"""A run as it trains: numbers, curves, who takes part, and what each client has of it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab import figures
from lab.attack_runs.reconstruction.quick_look import quick_looks
from lab.attack_runs.secure_aggregation.neighbourhood_capture import mask_cautions
from lab.engine.differential_privacy.accountant import cautions, gives_away, promise, spent
from lab.engine.evaluation.fairness import told
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import Experiment
from lab.figures.training_curves import AGAINST
from lab.reports.html_report import render
from lab.storage.job import Job, StoredRound
from lab.web.displays import baseline_runs
from lab.web.displays import live_panels as beside
from lab.web.displays.live_chart import redraw
from lab.web.plain_text import plain
from lab.web.session import STATUS, cached_figure, in_words, picture_of, rounds_of, sights_of, store


def watch(
    id: str, status: str, busy: bool, mine: bool, buttons: Callable[[Job | None], None]
) -> None:
    """A run as the store has it now.  The only part of the page that is redrawn while it trains.

    busy: whether its baselines are at work; mine: whether this visitor may steer it
    """
    if st.session_state.get("run") != id:
        st.rerun()  # a button within this part turned to another run, or to none
    job = store().run(id)
    if (job.status, baseline_runs.busy(job)) != (status, busy):
        st.rerun()  # the controls of the whole page depend on it
    rounds = rounds_of(id)
    buttons(job if mine else None)
    place = f", {store().place(id)} before it" if job.status == "queued" else ""
    total = job.experiment.at(job.round + 1).training.rounds
    st.progress(min(1.0, job.round / total), f"{STATUS[job.status]}{place}, {job.round} of {total}")
    if job.message:
        st.warning(plain(job.message))
    rounds = beside.rewind(job, rounds)
    if rounds:
        with in_words():
            _numbers(job, rounds)
    left, right = st.columns([1, 1])
    if rounds:
        with right:
            beside.reading(job, mine)
    _federation(right, job, rounds)
    if rounds:
        _curves(left, job, rounds, total)
        if note := rounds[-1].record.note:
            right.info(f"Round {rounds[-1].record.round}: {note}")
        _shares(job, rounds)
    beside.pinned(job)
    st.caption("The same run from the command line:")
    st.code(job.experiment.command(), language="bash", wrap_lines=True)
    if rounds and not job.active:
        _exports(job)


def _federation(place: DeltaGenerator, job: Job, rounds: list[StoredRound]) -> None:
    """Who takes part, with what labels, and what became of them in the newest round."""
    intended = store().intended(job.id)
    last = rounds[-1].record if rounds else None
    figure = cached_figure(
        "federation",
        (job.id, len(rounds), intended.to_json()),
        lambda: figures.federation(picture_of(intended), last),
    )
    redraw(figure, "federation", "The federation", place)


def _curves(place: DeltaGenerator, job: Job, rounds: list[StoredRound], total: int) -> None:
    """Accuracy, loss and epsilon, beside those of the baselines."""
    chart, below = place.container(), place.container(horizontal=True, vertical_alignment="bottom")
    records, changes = [each.record for each in rounds], job.experiment.changes
    against, others = _against(below, records), baseline_runs.offered(below, job)
    bodies = {sight.number: sight.body for sight in sights_of(job.id)}
    read = [one for one in quick_looks(bodies) if one.round <= len(records)]
    known = {name: len(each) for name, each in others.items()}
    figure = cached_figure(
        "curves",
        (job.id, len(rounds), total, against, len(changes), str(known), len(read)),
        lambda: figures.curves(records, changes, total, against, others, read),
    )
    redraw(figure, "curves", "Accuracy, loss and epsilon by round", chart)


def _shares(job: Job, rounds: list[StoredRound]) -> None:
    """What was sent, what each client has of it, and who moved the model."""
    left, right = st.columns([1, 1])
    records, last, which = (
        [each.record for each in rounds],
        rounds[-1].record,
        (job.id, len(rounds)),
    )
    traffic = cached_figure("traffic", which, lambda: figures.traffic(records))
    redraw(traffic, "traffic", "Megabytes by round", left)
    fairness = cached_figure("fairness", which, lambda: figures.fairness(last))
    redraw(fairness, "fairness", "Accuracy for each client", right)
    for line in told(last):
        right.caption(line)
    if last.influence:
        moved = cached_figure("moved", which, lambda: figures.moved(last))
        redraw(moved, "moved", "Who moved the model how far", left)
        left.caption(
            f"Who moved the model in round {last.round}, and by how much: more on the page "
            "Malicious clients."
        )


def _against(place: DeltaGenerator, records: list[RoundRecord]) -> str:
    """What the curves are drawn against; seconds only where there is a clock."""
    clock = any(record.duration is not None for record in records)
    choices = AGAINST if clock else AGAINST[:-1]
    chosen = place.segmented_control("Drawn against", choices, default="rounds", key="against")
    return chosen or "rounds"


def _numbers(job: Job, rounds: list[StoredRound]) -> None:
    record = rounds[-1].record
    spending = spent(job.experiment, record.round)
    told = {
        "Accuracy": f"{record.accuracy:.1%}",
        "Loss": "overflow" if record.loss is None else f"{record.loss:.3f}",
        "Epsilon spent": spending.value() if spending else "none",
        "Megabytes up, down": f"{_total(rounds, 'bytes_up')}, {_total(rounds, 'bytes_down')}",
    }
    own = [rate for rate in record.personal if rate is not None]
    if own and record.personal != record.fairness:
        told["Own models"] = f"{sum(own) / len(own):.1%}"
    if record.duration is not None:
        told["Simulated seconds"] = f"{sum(each.record.duration or 0 for each in rounds):.1f}"
    if record.backdoor is not None:
        told["Backdoor success"] = f"{record.backdoor:.1%}"
    with st.container(horizontal=True, gap="medium"):
        for name, value in told.items():
            st.metric(name, value, width="content")
    done = record.round
    st.caption(f"{promise(job.experiment, done)} {warned(job.experiment, done)}")


def warned(experiment: Experiment, rounds: int) -> str:
    told = [*cautions(experiment, rounds), *mask_cautions(experiment, rounds)]
    return " ".join(f":orange[{caution}]" for caution in told)


def _total(rounds: list[StoredRound], name: str) -> str:
    return f"{sum(getattr(each.record, name) for each in rounds) / 1e6:.1f}"


def _exports(job: Job) -> None:
    with st.container(horizontal=True):
        toml, name = job.experiment.to_toml(), f"leaklab_{job.id}"
        st.download_button("Experiment file", toml, f"{name}.toml", on_click="ignore")
        st.download_button(
            "Report", lambda: render(store(), job.id), f"{name}.html", on_click="ignore"
        )
    if warning := gives_away(job.experiment):
        st.caption(warning)
