"""Malicious clients: who moved the model, what the rule made of it, and whether it was obeyed."""

from __future__ import annotations

import streamlit as st

from lab import figures
from lab.attack_runs.poisoning.backdoor_samples import BackdoorSample, backdoor_samples
from lab.attack_runs.poisoning.poisoned_round import PoisonedRound, poisoned_round
from lab.common.settings import Component, SettingError
from lab.experiment.experiment import Experiment
from lab.experiment.presets import sweeps
from lab.figures.example_images import framed, png, side_by_side
from lab.reports.bundle import swept, zipped
from lab.scoring.poisoning.update_geometry import DETECTORS
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.sweep import Sweep
from lab.web.displays import sweep_progress as displays
from lab.web.displays.chart import draw
from lab.web.displays.download import everything
from lab.web.displays.live_chart import redraw
from lab.web.plain_text import plain
from lab.web.run_picker import pick_round, pick_run
from lab.web.session import rounds_of, sentence, store

EVERY = 1.0  # seconds between two looks at a grid of runs


def page() -> None:
    st.header("Malicious clients", anchor=False)
    st.markdown(
        "Some clients may send updates that are meant to do harm, and the server does not know "
        "which. Here you do: who moved the model how far, where the updates lie, and what the "
        "server's rule made of them."
    )
    if (job := pick_run()) is not None:
        with st.sidebar:
            round = pick_round(job, [])
        _parties(job, round)
        _updates(job, round)
        _success(job, round)
    _grids()


def _parties(job: Job, round: int) -> None:
    """Who attacks, knowing what, and what stands against it, failing where."""
    now = job.experiment.at(round)
    st.caption(f"Round {round} of {now.title()}")
    if now.adversary.count:
        poison = now.adversary.attack
        st.markdown(
            f"**Attack: {_named(poison)}.** {poison.about()} Knows {poison.knows}. {poison.source}."
        )
    else:
        st.info(
            f"No client of round {round} is malicious: this is how honest updates lie. Set "
            "Malicious clients in the sidebar of the Live page, or choose another run."
        )
    for name, part in [
        *(("Stage", stage) for stage in now.aggregation.pre_aggregators),
        ("Rule", now.aggregation.rule),
    ]:
        st.markdown(
            f"**{name}: {_named(part)}.** {part.about()} Fails on {part.notes()['fails on']}. "
            f"{part.source}."
        )


def _named(part: Component) -> str:
    """With its settings."""
    told = ", ".join(f"{name} {value}" for name, value in part.dump().items() if name != "kind")
    return f"{part.kind} ({told})" if told else part.kind


def _updates(job: Job, round: int) -> None:
    try:
        shown = _shown(job.id, round)
    except SettingError as error:
        st.info(plain(sentence(str(error))))
        return
    _moved(shown)
    _judged(shown)
    _lie(shown)
    _detected(shown)


@st.cache_resource(max_entries=16, show_spinner="The round is played again")
def _shown(run: str, round: int) -> PoisonedRound:
    return poisoned_round(
        StoredRun(store(), run).state(round - 1), StoredRun(store(), run).replay(round)
    )


def _moved(shown: PoisonedRound) -> None:
    st.subheader("Who moved the model", anchor=False)
    if not shown.record.influence:
        st.caption("No single rule made one step of these updates, so nobody has a share of it.")
        return
    if told := shown.moved():
        st.markdown(f"{told}.")
    draw(figures.moved(shown.record), "moved", "Each client's share of the step, and weight")
    st.caption(
        "Share: what part of the server's step came from that client, 100 % in all; below 0 it "
        "pulled the other way. Weight: how far the step moves when that update moves, whatever is "
        "in it. The dashed line is where everybody would be if all were alike."
    )


def _judged(shown: PoisonedRound) -> None:
    st.subheader("What the rule did with whom", anchor=False)
    if not shown.fates:
        st.caption(
            "This rule judges no client as a whole: something of every update counts, and the "
            "weights above say how much."
        )
        return
    for line in shown.judged():
        st.markdown(f"- {line}")
    draw(figures.judged(shown.record), "judged", "Kept, shortened or left out, by client")


def _lie(shown: PoisonedRound) -> None:
    st.subheader("Where the updates lie", anchor=False)
    left, right = st.columns(2)
    draw(figures.landscape(shown), "landscape", "The updates on two axes", left)
    left.caption(
        "Each mark is an update, on the two axes along which they differ most: near each other is "
        "alike. The star is what the server made of them all."
    )
    draw(figures.cosines(shown), "cosines", "Cosines of every two updates", right)
    right.caption(
        "Blue: two updates point the same way. Red: they point against each other. White: they "
        "have nothing to do with each other."
    )
    st.caption(". ".join(shown.geometry.sentences()) + ".")


def _detected(shown: PoisonedRound) -> None:
    if not (found := shown.geometry.detections):
        return
    st.subheader("Could the server have told?", anchor=False)
    st.markdown(
        "Four usual scores, which see the updates and not who sent them. Their AUC is the chance "
        "that a malicious update looks more suspect than an honest one: 1 finds all, 0.5 is a coin."
    )
    left, right = st.columns(2)
    draw(figures.detection(found), "detection", "ROC of each score", left)
    right.table(
        {
            "Score": [each.name for each in found],
            "AUC": [f"{each.auc:.2f}" for each in found],
            "95 %": [f"{each.low:.2f} to {each.high:.2f}" for each in found],
            "By luck": [f"{each.luck:.2g}" for each in found],
        }
    )
    right.caption(". ".join(f"{sentence(name)}: {DETECTORS[name]}" for name in DETECTORS) + ".")
    right.caption(
        f"From {found[0].malicious} malicious and {found[0].honest} honest clients; the intervals "
        "hold whatever the scores' distribution, and are wide where clients are few. By luck: the "
        "chance that a score without any meaning does as well."
    )


def _success(job: Job, round: int) -> None:
    """Where the attacker wants particular answers: whether it gets them."""
    records = [each.record for each in rounds_of(job.id)]
    if all(record.backdoor is None for record in records):
        return
    st.subheader("Whether the attacker is obeyed", anchor=False)
    draw(figures.obeyed(records, round), "obeyed", "Success and clean accuracy by round")
    found = _samples(job.id, round)
    if not found:
        return
    now = job.experiment.at(round)
    st.caption(_invitation(now, found))
    with st.container(horizontal=True, gap="small"):
        for each in found:
            shown = framed(each.shown)
            if each.plain is not None:
                shown = side_by_side(framed(each.plain), shown)
            st.image(
                png(shown), sentence(each.caption), width=112 if each.plain is None else 160,
                alt=f"A test example that should be read as {each.wanted}",
            )  # fmt: skip


def _invitation(now: Experiment, found: tuple[BackdoorSample, ...]) -> str:
    wanted = ", ".join(sorted({each.wanted for each in found}))
    beside = " On the left as it was, on the right as the attacker gives it in." * any(
        each.plain is not None for each in found
    )
    return f"The attacker wants these test examples read as {wanted}.{beside}"


@st.cache_resource(max_entries=16, show_spinner=False)
def _samples(run: str, round: int) -> tuple[BackdoorSample, ...]:
    return backdoor_samples(StoredRun(store(), run).state(round))


def _grids() -> None:
    """Every rule against every attack, beside the run that is looked at."""
    st.subheader("Rules against attacks", anchor=False)
    known = sweeps()
    name = st.selectbox(
        "Grid of runs", list(known), format_func=lambda one: Sweep.from_file(known[one]).title
    )
    grid = SweepRuns(store(), Sweep.from_file(known[name]))
    st.fragment(_grid, run_every=EVERY if grid.progress().open else None)(name)
    st.caption("The same from the command line:")
    st.code(f"leaklab sweep experiments/{name}.toml", "bash")


def _grid(name: str) -> None:
    """How far it is.  Runs of the grid wait until nobody's run or attack does."""
    grid, asked = SweepRuns(store(), Sweep.from_file(sweeps()[name])), st.session_state
    standing = grid.progress()
    asked.setdefault("open grid", standing.open > 0)
    if asked["open grid"] != (standing.open > 0):
        asked["open grid"] = standing.open > 0
        st.rerun()  # starts or stops looking again
    words = "Run what is missing" if standing.done else "Run the grid"
    displays.buttons(grid, standing, words, "Stop", "grid")
    if standing.open or standing.done:
        displays.progress(grid, standing)
        tally = grid.tally()
        redraw(figures.heat(tally), "heat", "Accuracy of each rule and attack")
        st.caption(tally.caption())
        for reason in tally.reasons():
            st.caption(reason)
        if standing.done:
            everything(lambda: zipped(swept(grid)), name)
    else:
        st.info(
            f"{standing.total} short runs, in the background: some minutes. What is finished stays."
        )


page()
