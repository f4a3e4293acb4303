"""Trade-offs: what each defence costs in accuracy, and what it saves in leaks."""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from lab import ROOT, figures
from lab.common.settings import SettingError
from lab.common.settings_text import write_value
from lab.experiment.experiment import Experiment
from lab.experiment.presets import tradeoffs
from lab.reports.bundle import studied, zipped
from lab.storage.run_commands import RunCommands
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.tradeoff import MEASURES, Point, front, points, reasons, sentences, table
from lab.sweeps.tradeoff_study import AXES, TITLES, SettingsCombination, Study
from lab.web.displays import sweep_progress as displays
from lab.web.displays.download import everything
from lab.web.displays.live_chart import redraw
from lab.web.plain_text import plain
from lab.web.run_picker import open_run
from lab.web.session import sentence, store
from lab.web.visitor import visitor

EVERY = 1.0  # seconds between two looks at runs that are at work
OFFERED: dict[str, tuple[Any, ...]] = {
    "epsilons": (0.0, 100.0, 50.0, 20.0, 8.0, 3.0, 1.0),
    "alphas": (0.0, 10.0, 1.0, 0.3, 0.1),
    "masks": (False, True),
    "malicious": (0.0, 0.1, 0.2, 0.3, 0.4),
}


def page() -> None:
    st.header("Trade-offs", anchor=False)
    st.markdown(
        "What does a defence cost, and what does it save? Choose a few values of each: every "
        "combination is trained under several seeds and attacked, and each becomes a point. "
        "Upper left is best: accurate, and little leaks."
    )
    known = tradeoffs()
    titles = {name: Study.from_file(path).title for name, path in known.items()}
    name = st.selectbox("Question", list(known), format_func=lambda one: titles[one])
    usual = Study.from_file(known[name])
    changed = _changed(name, usual)
    if missing := [TITLES[axis] for axis in AXES if not changed[axis]]:
        st.warning(f"Choose at least one value: {', '.join(missing)}.")
        return
    try:
        study = usual.changed(changed)
    except SettingError as error:
        st.warning(plain(sentence(str(error))))
        return
    grid = SweepRuns(store(), study.sweep)
    st.fragment(_watched, run_every=EVERY if grid.progress().open else None)(study)
    st.caption("The same from the command line:")
    st.code(_command(name, usual, study), "bash", wrap_lines=True)


def _changed(name: str, usual: Study) -> dict[str, Any]:
    """What the controls say, by setting of the study."""
    found: dict[str, Any] = {}
    for axis, column in zip(AXES, (*st.columns(2), *st.columns(2)), strict=True):
        mine = list(getattr(usual, axis))
        found[axis] = column.multiselect(
            TITLES[axis],
            list(dict.fromkeys([*OFFERED[axis], *mine])),
            mine,
            format_func=partial(_word, axis),
            key=f"{axis} of {name}",
        )
    left, right = st.columns(2)
    seeds = left.slider("Seeds", 1, 10, len(usual.seeds), key=f"seeds of {name}")
    rounds = right.slider(
        "Rounds", 1, 300, usual.experiment.training.rounds, key=f"rounds of {name}"
    )
    return found | {"seeds": list(range(seeds)), "training.rounds": rounds}


def _word(axis: str, value: Any) -> str:
    place = dict.fromkeys(AXES, 0.0) | {axis: value}
    return SettingsCombination(*place.values()).words()[axis]


def _command(name: str, usual: Study, study: Study) -> str:
    mine, yours = study.dump(), usual.dump()
    apart = {name: mine[name] for name in ("seeds", *AXES) if mine[name] != yours[name]}
    rounds = study.experiment.training.rounds
    if rounds != usual.experiment.training.rounds:
        apart["training.rounds"] = rounds
    sets = "".join(f" -s '{path}={write_value(value)}'" for path, value in apart.items())
    return f"leaklab tradeoff experiments/tradeoffs/{name}.toml{sets}"


def _watched(study: Study) -> None:
    """Drawn again every second as long as runs wait or are at work."""
    grid, asked = SweepRuns(store(), study.sweep), st.session_state
    standing = grid.progress()
    if asked.setdefault("open tradeoff", standing.open > 0) != (standing.open > 0):
        asked["open tradeoff"] = standing.open > 0
        st.rerun()  # starts or stops looking again
    _buttons(study, grid)
    found = points(study, grid.outcomes())
    if any(point.accuracy for point in found):
        _drawn(study, found)
        everything(partial(_archive, study), "tradeoff")
    for line in reasons(found):
        st.caption(line)


def _archive(study: Study) -> bytes:
    return zipped(studied(study, SweepRuns(store(), study.sweep).outcomes()))


def _buttons(study: Study, grid: SweepRuns) -> None:
    standing = grid.progress()
    if standing.open:
        displays.progress(grid, standing)
    words = "Run what is missing" if standing.done else "Start"
    startable = displays.buttons(grid, standing, words, "Stop", "tradeoff")
    if startable and not standing.open:
        st.caption(
            f"{standing.total - standing.finished} short runs in the background: "
            f"{len(study.places)} combinations, seeds: {len(study.seeds)}. What is finished stays."
        )


def _drawn(study: Study, found: tuple[Point, ...]) -> None:
    left, right = st.columns(2)
    there = {name for point in found for name in point.leaks}
    measures = [name for name in MEASURES if name in there]
    measure = left.selectbox(
        "What leaks",
        measures,
        measures.index("backdoor") if "backdoor" in measures else 0,
        format_func=lambda name: sentence(MEASURES[name].title),
    )
    axes = list(study.varied) or list(AXES)
    by = right.selectbox("Colour and shape by", axes, format_func=lambda axis: TITLES[axis])
    told = "Accuracy against what leaks, and the front"
    chosen = _chosen(found, measure)
    redraw(figures.frontier(found, measure, by, chosen), "frontier", told, pointed=_pointed)
    for line in sentences(study, found, measure):
        st.markdown(f"- {sentence(line)}.")
    st.caption(
        f"Whiskers reach from the lowest to the highest of {len(study.seeds)} seeds and are no "
        "confidence interval. Nothing is drawn left of what a guess has. An attack that finds "
        "little proves only that this attack is weak."
    )
    st.dataframe(
        table(study, found, measure), hide_index=True, height="content", alt="All combinations"
    )
    _one(found)


def _pointed(number: int) -> None:
    """A click on a point chooses it below, too."""
    st.session_state["combination"] = number


def _chosen(found: tuple[Point, ...], measure: str) -> int:
    """Number of the combination to look at; at first one of the front."""
    there = [point.number for point in found if point.experiment]
    if st.session_state.get("combination") not in there:
        st.session_state["combination"] = next(
            (mark.point.number for mark in front(found, measure)), there[0]
        )
    return int(st.session_state["combination"])


def _one(found: tuple[Point, ...]) -> None:
    """A combination from near: its settings, its runs, and a run of it to look at."""
    named = {point.number: point for point in found if point.experiment}
    number = st.selectbox(
        "Look closer at", list(named), format_func=lambda one: f"{one}: {named[one].label}",
        key="combination",
    )  # fmt: skip
    point = named[number]
    assert point.experiment is not None
    st.caption(f"{point.experiment.title()}.")
    if point.accuracy:
        st.table(_by_seed(point))
    if st.button("Open its run on the Live page", key="open run"):
        _opened(point.experiment)
    st.code(point.experiment.command(), "bash", wrap_lines=True)


def _by_seed(point: Point) -> list[dict[str, str]]:
    assert point.accuracy is not None
    return [
        {"seed": str(seed), "accuracy": f"{value:.1%}"}
        | {
            MEASURES[name].title: MEASURES[name].shown(spread.seeds[seed])
            for name, spread in point.leaks.items()
            if seed in spread.seeds
        }
        for seed, value in point.accuracy.seeds.items()
    ]


def _opened(experiment: Experiment) -> None:
    """The visitor's own run of it, a new one where there is none yet."""
    mine = store().runs(visitor=visitor())
    run = next((job.id for job in mine if job.experiment == experiment), None)
    try:
        open_run(run or RunCommands(store()).create(experiment, visitor=visitor()))
    except SettingError as error:
        st.error(plain(error))
        return
    st.switch_page(ROOT / "pages" / "live.py")


page()
