"""Live: set up a federation, watch it train, and turn its defences on and off meanwhile."""

from __future__ import annotations

from functools import partial
from typing import Any
from urllib.parse import urlencode

import streamlit as st

from lab import figures
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import promise, spent
from lab.experiment import presets
from lab.experiment.experiment import Experiment
from lab.experiment.setting_names import told
from lab.interfaces.poisoning import PoisoningAttack
from lab.storage.job import Job
from lab.storage.run_commands import RunCommands
from lab.web.displays import baseline_runs, run_panel
from lab.web.displays import live_panels as displays
from lab.web.displays.chart import draw
from lab.web.plain_text import plain
from lab.web.run_picker import looked_at, open_run
from lab.web.session import in_words, pace, picture_of, store
from lab.web.setting_widgets import chain, control, differing, part_of, reset, settings_of
from lab.web.visitor import command, may_command, resume, show_refusal, started, visitor

PRESETS = presets.experiments()
EVERY = 0.5  # seconds between two looks at a run that trains
SELDOM = 2.0  # the same of one that waits

MORE = {
    "Training": {
        "training.rounds": "Rounds",
        "training.clients_per_round": "Clients a round",
        "training.epochs": "Local epochs",
        "training.batch_size": "Batch size",
        "training.steps": "Local steps at most",
        "training.rate": "Learning rate",
        "training.algorithm": "Algorithm",
        "training.device": "Trains on",
        "training.precision": "Precision",
    },
    "Privacy": {
        "privacy.delta": "Delta",
        "privacy.clip": "Clip",
        "privacy.quantile": "Adaptive clip: share left whole",
        "privacy.per_layer": "Clip layer by layer",
        "privacy.noise": "Noise multiplier",
        "privacy.place": "Who adds the noise",
        "privacy.sampling": "Sampling",
        "privacy.stop": "End the run at its budget",
        "privacy.secure_noise": "Noise that no seed repeats",
        "privacy.backend": "Gradients of each example by",
    },
    "Masks": {
        "secure_aggregation.threshold": "Threshold",
        "secure_aggregation.neighbours": "Neighbours",
        "secure_aggregation.buckets": "Buckets",
        "secure_aggregation.bound": "Bound of a coordinate",
        "secure_aggregation.norm": "Longest update",
        "secure_aggregation.silent": "Lost clients fall silent at",
        "secure_aggregation.on_abort": "On abort",
        "secure_aggregation.binding": "Masks bound to the model",
        "secure_aggregation.signatures": "Signed keys",
        "secure_aggregation.checks": "Clients check the round",
        "secure_aggregation.generator": "Mask generator",
    },
    "Network": {
        "network.availability": "Availability",
        "network.dropout": "Lost updates",
        "network.devices": "Devices",
        "network.deadline": "Deadline, simulated seconds",
        "network.spare": "Spare clients",
        "network.compression": "Compression",
        "network.error_feedback": "Error feedback",
    },
}
ATTACKERS = {
    "adversary.clients": "Malicious are clients",
    "adversary.start": "From round",
    "adversary.once": "In that round only",
    "adversary.chance": "Chance that they act in a round",
}
MADE_OF_MORE = {  # a run keeps these from beginning to end
    "data.examples": "Training examples",
    "seed": "Seed",
}


def page() -> None:
    job = looked_at()
    mine = job is None or may_command(job)
    live = mine and job is not None and job.status in ("queued", "running", "paused")
    _turn_to(job)
    experiment = store().intended(job.id) if job and live else st.session_state["draft"]
    ready = _take(job if live else None, experiment, _sidebar(experiment, live))
    st.header("Live federation", anchor=False)
    if job is None:
        _before(st.session_state["draft"], ready)
    else:
        if not mine:
            st.caption("Somebody else's run: watch it, attack it, or start one like it.")
        busy = baseline_runs.busy(job)
        watch = st.fragment(run_panel.watch, run_every=_every(job, busy))
        with st.container(key="watched"):
            watch(job.id, job.status, busy, mine, partial(_buttons, ready))


def _every(job: Job, busy: bool) -> float | None:
    """Seconds between two looks at it; whoever waits in the queue looks less often."""
    if job.status == "running" or busy:
        return pace(EVERY)
    return pace(SELDOM) if job.active else None


def _turn_to(job: Job | None) -> None:
    """Let the controls show the run, whenever the page turns to another one."""
    state, turned = st.session_state, job.id if job else None
    if "draft" in state and state.get("turned") == turned:
        return
    state["turned"] = turned
    if job:
        state["draft"] = job.experiment.at(job.round + 1)
    elif "draft" not in state:
        state["draft"] = _from_address()
    reset()


def _from_address() -> Experiment:
    """The experiment that a link describes; quick start without one."""
    pairs = {path: text for path, text in st.query_params.items() if path != "run"}
    try:
        return Experiment.from_url(urlencode(pairs)) if pairs else _preset("quickstart")
    except SettingError as error:
        st.warning(f"The link was not understood: {plain(error)}")
        return _preset("quickstart")


def _preset(name: str) -> Experiment:
    return Experiment.from_file(PRESETS[name])


def _start_from() -> None:
    open_run(None)
    st.session_state.update(draft=_preset(st.session_state["preset"]), turned=None)
    reset()


def _sidebar(experiment: Experiment, live: bool) -> dict[str, Any]:
    """All controls.  -> their values by path"""
    values: dict[str, Any] = {}

    def draw(labels: dict[str, str], locked: bool = False) -> None:
        for path, label in labels.items():
            values.update(control(experiment, path, label, locked))

    def draw_part(path: str, label: str, locked: bool = False) -> None:
        draw({path: label}, locked)
        kind = values.get(f"{path}.kind")
        if kind:
            values.update(settings_of(part_of(experiment, path, kind), path, locked))

    with st.sidebar:
        if not live:
            st.selectbox("Start from", PRESETS, None, key="preset", on_change=_start_from)
        st.subheader("The federation", anchor=False)
        draw({"data.source": "Data set"}, locked=live)
        draw_part("data.partition", "How clients differ", locked=live)
        draw({"data.clients": "Clients", "model": "Model"}, locked=live)
        st.subheader("Change at any time" if live else "Defences and attackers", anchor=False)
        draw({"privacy.kind": "Differential privacy"})
        if values["privacy.kind"] != "none":
            draw({"privacy.epsilon": "Target epsilon"})
        draw({"secure_aggregation.enabled": "Secure aggregation"})
        draw_part("aggregation.rule", "Aggregation rule")
        values.update(chain(experiment, "aggregation.pre_aggregators", "Before the rule"))
        draw({"adversary.count": "Malicious clients"})
        if values["adversary.count"]:
            draw_part("adversary.attack", "What they do")
            poison = PoisoningAttack.table[values["adversary.attack.kind"]]
            st.caption(f"{poison.about()} Knows {poison.knows}.")
            with st.expander("Who attacks, and when"):
                draw(ATTACKERS)
        for title, labels in MORE.items():
            with st.expander(title):
                for path, label in labels.items():
                    draw_part(path, label)
        with st.expander("Data and model"):
            draw(MADE_OF_MORE, locked=live)
            model = part_of(experiment, "model", values["model.kind"])
            values.update(settings_of(model, "model", locked=live))
    return values


def _take(live: Job | None, experiment: Experiment, values: dict[str, Any]) -> bool:
    """Apply what the controls say, to the run or to the draft.  -> whether they agree"""
    changed = differing(values, experiment)
    try:
        if changed and live:
            RunCommands(store()).change(live.id, changed, visitor())
            st.toast(plain(", ".join(told(path, value) for path, value in changed.items())))
        elif changed:
            st.session_state["draft"] = experiment.changed(changed)
    except SettingError as error:
        st.sidebar.error(plain(error))
        return False
    if not live:
        _show_in_address(st.session_state["draft"])
    return True


def _show_in_address(draft: Experiment) -> None:
    """A link to a draft holds what differs from the defaults; a link to a run holds its id."""
    if "run" in st.query_params:
        return
    st.query_params.from_dict(draft.overrides_as_text())


def _before(draft: Experiment, ready: bool) -> None:
    """What will be trained, before anything is."""
    _first_minute()
    _buttons(ready, None)
    summary = picture_of(draft)
    st.caption(
        f"{draft.title()}. {draft.data.partition.about()} Skew {summary.skew:.2f}: how far a "
        "client's labels lie from everybody's on average, from 0 (alike) to 1."
    )
    with in_words():
        _forecast(draft)
    draw(figures.federation(summary), "federation", "The federation")
    with st.expander("Who holds what"):
        draw(figures.split(summary), "split", "Labels and sizes by client")


def _forecast(draft: Experiment) -> None:
    """What the whole run would guarantee."""
    rounds = draft.training.rounds
    if forecast := spent(draft, rounds):
        st.caption(
            f"After {rounds} rounds: {forecast.sentence()}. "
            f"Noise multiplier {forecast.noise[-1]:.3g}. {run_panel.warned(draft, rounds)}"
        )
    elif draft.privacy.kind != "none":
        st.warning(promise(draft, rounds))


def _buttons(ready: bool, job: Job | None) -> None:
    """What can be done now.  Keys keep a button the same over redraws."""
    status = job.status if job else "none"
    id = job.id if job else ""
    with st.container(horizontal=True):
        if status in ("queued", "running"):
            st.button("Pause", key="pause", on_click=command, args=(RunCommands(store()).pause, id))
        if status in ("paused", "stopped"):
            st.button("Resume", key="resume", type="primary", on_click=command, args=(resume, id))
            st.button("Step one round", key="step", on_click=command, args=(resume, id, 1))
        if status in ("queued", "running", "paused"):
            st.button("Stop", key="stop", on_click=command, args=(RunCommands(store()).stop, id))
            st.button("New run", key="new", on_click=open_run, args=(None,))
        else:
            again = "Start" if status == "none" else "Start a new run"
            st.button(again, key="start", type="primary", disabled=not ready, on_click=_start)
            if status != "none" and job:
                displays.pin(job)
            if status == "none":
                st.button(
                    "Step one round", key="first", disabled=not ready, on_click=_start, args=(1,)
                )
    show_refusal()


def _first_minute() -> None:
    """One button for whoever is here for the first time."""
    with st.container(border=True):
        st.markdown(
            "**New here?** Twenty clients train a model together, and nobody sends a picture. See "
            "what the server can read all the same; then switch on a defence."
        )
        st.button("Show me", key="first minute", type="primary", on_click=_show)


def _show() -> None:
    if run := started(_preset("first-minute")):
        RunCommands(store()).watch(run)
        open_run(run)


def _start(rounds: int | None = None) -> None:
    if run := started(st.session_state["draft"], rounds):
        open_run(run)


page()
