"""Budget: what a run spends of its privacy, round by round, and what other choices would cost."""

from __future__ import annotations

import numpy as np
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab import figures
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import (
    UNCOVERED,
    cautions,
    detailed,
    promise,
    spans,
    spent,
)
from lab.engine.differential_privacy.forecast import Course, compared, course, needed, stretches
from lab.engine.differential_privacy.segments import faced
from lab.experiment.experiment import Experiment
from lab.privacy.guarantee import AttackCeiling, PrivacyGuarantee
from lab.storage.joint_guarantee import together
from lab.web.displays.chart import draw
from lab.web.plain_text import plain
from lab.web.run_picker import looked_at, run_names, visible_runs
from lab.web.session import store

DRAFT = "draft"
TARGETS = (0.1, 0.2, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 10.0, 20.0, 50.0, 100.0)


def page() -> None:
    st.header("Privacy budget", anchor=False)
    st.markdown(
        "Every round tells a little about everybody's data. Differential privacy counts how much, "
        "and the count only ever rises."
    )
    choices = _choices()
    if not choices:
        st.info(
            "Nothing here has differential privacy: choose a unit to protect on the Live page, "
            "or start from its presets dp-8 or dp-1."
        )
        return
    titles = run_names(visible_runs()) | {DRAFT: "what is set up on the Live page"}
    with st.sidebar:
        name = st.selectbox(
            "Budget of", choices, _start(choices), format_func=titles.__getitem__, key="budget"
        )
        others = [one for one in choices if one != name]
        other = st.selectbox("Compare with", others, None, format_func=titles.__getitem__)
    experiment, done = choices[name]
    _whole(experiment, done, choices[other] if other else None)
    if name != DRAFT:
        _beside(name)


def _beside(run: str) -> None:
    """What other runs on the same data add."""
    found = together(store(), store().run(run))
    if found.sentence:
        st.subheader("With all other runs", anchor=False)
        (st.info if found.epsilon is not None else st.warning)(found.sentence)


def _choices() -> dict[str, tuple[Experiment, int]]:
    """Experiments with a guarantee, or that once had one, and how many rounds have finished."""
    found: dict[str, tuple[Experiment, int]] = {}
    if draft := st.session_state.get("draft"):
        found[DRAFT] = draft.at(1), 0
    for job in visible_runs():
        found[job.id] = job.experiment, job.round
    return {name: one for name, one in found.items() if _private(one[0])}


def _private(experiment: Experiment) -> bool:
    kinds = {experiment.at(1).privacy.kind}
    kinds |= {experiment.at(change.round).privacy.kind for change in experiment.changes}
    return kinds != {"none"}


def _start(choices: dict[str, tuple[Experiment, int]]) -> int:
    job = looked_at()
    return list(choices).index(job.id) if job and job.id in choices else 0


def _whole(experiment: Experiment, done: int, other: tuple[Experiment, int] | None) -> None:
    end = _end(experiment, done)
    if (forecast := detailed(experiment, end)) is None:
        st.warning(promise(experiment, end))
        return
    _numbers(experiment, done, end, forecast)
    for caution in cautions(experiment, end):
        st.warning(caution)
    left, right = st.columns(2)
    found = _course(experiment.to_json(), done, end)
    privacy = experiment.at(done + 1).privacy
    draw(
        figures.spending(
            found.points, found.epsilons, done, privacy.epsilon, found.at_least, found.changes
        ),
        "spending",
        "Epsilon by round, by three accountants",
        left,
    )
    left.caption(
        "Three ways to count the same releases. PLD is tight, and what Leaklab states; RDP is "
        "looser and older; PRV is the upper end of a bracket. The last two take a client that is "
        "asked now and then for one that is always asked."
    )
    _trade_off(right, forecast, other)
    st.subheader("Against whom", anchor=False)
    st.table(compared(experiment, end), hide_index=True)
    _stretches(experiment, end)
    _what_if(experiment, end)
    _command(experiment, end)


@st.cache_data(max_entries=32, show_spinner="Counting")
def _course(text: str, done: int, end: int) -> Course:
    return course(Experiment.from_json(text), done, end)


def _numbers(experiment: Experiment, done: int, end: int, forecast: PrivacyGuarantee) -> None:
    now = spent(experiment, done) if done else None
    with st.container(horizontal=True, gap="medium"):
        st.metric(f"Spent after round {done}", now.value() if now else "0", width="content")
        st.metric(f"Forecast for round {end}", forecast.value(), width="content")
        st.metric("Delta", f"{forecast.delta:g}", width="content")
        st.metric("Protects one", forecast.unit, width="content")
        st.metric("Noise multiplier", f"{forecast.noise[-1]:.3g}", width="content")
    st.caption(f"At the end: {forecast.sentence()}. {UNCOVERED}")


def _trade_off(
    place: DeltaGenerator, mine: PrivacyGuarantee, other: tuple[Experiment, int] | None
) -> None:
    """What the guarantee leaves to any attack, beside another run's if the two mean the same."""
    ceiling, told = _ceiling(mine), ""
    drawn = {f"epsilon {mine.value()}": ceiling}
    if other:
        theirs = detailed(other[0], _end(*other))
        if theirs is None:
            told = "The other run has no guarantee, so there is nothing to compare."
        elif differing := mine.differs(theirs):
            told = (
                f"Not drawn: the other run's epsilon means something else. The two differ in "
                f"{' and '.join(differing)}; there it is {theirs.sentence()}."
            )
        else:
            drawn[f"epsilon {theirs.value()}, the other run"] = _ceiling(theirs)
    draw(figures.trade_off(drawn), "trade-off", "Best true-positive rate of any attack", place)
    found = float(ceiling.true_positives(np.array([0.01]))[0])
    place.caption(
        f"No attack tells whether one {mine.unit} took part any better than this line: at 1 % "
        f"false alarms it finds {found:.1%} at most. The area under the line is "
        f"{ceiling.auc():.3f}, and 0.5 is chance."
    )
    if told:
        place.info(told)


def _ceiling(guarantee: PrivacyGuarantee) -> AttackCeiling:
    return AttackCeiling(
        epsilon=guarantee.epsilon, delta=guarantee.delta, profile=guarantee.profile
    )


def _end(experiment: Experiment, done: int) -> int:
    return max(done, experiment.at(done + 1).training.rounds)


def _stretches(experiment: Experiment, end: int) -> None:
    """What every stretch under the same settings released."""
    st.subheader("Stretch by stretch", anchor=False)
    st.table(stretches(experiment, end), hide_index=True)
    if len(experiment.changes):
        st.caption("Nothing that was spent comes back: stretches with different noise add up.")


def _what_if(experiment: Experiment, end: int) -> None:
    """How much noise other choices would need."""
    st.subheader("What another choice would need", anchor=False)
    first, second, third = st.columns(3)
    ladder = sorted({*TARGETS, experiment.at(1).privacy.epsilon})
    epsilon = first.select_slider("Target epsilon", ladder, experiment.at(1).privacy.epsilon)
    rounds = second.number_input("Rounds", 1, 2000, min(end, 2000))
    try:
        noise = f"{needed(experiment, epsilon, int(rounds)):.4g}"
    except SettingError as error:
        st.warning(plain(error))
        return
    third.metric("Noise multiplier", noise)
    st.caption(
        "With the sampling of the first round. To try it, set epsilon and rounds on the Live page."
    )


def _command(experiment: Experiment, end: int) -> None:
    spending = spans(experiment, end)[-1]
    found = spending[0].spending(spending[1], faced(spending[0].now))
    if found.chance < 1:
        return
    words = (
        f"leaklab account --rate {found.rate:.6g} --noise {found.noise:.6g} "
        f"--steps {found.times * found.steps} --delta {experiment.at(end).privacy.delta:g}"
    )
    st.caption("The last stretch, from the command line:")
    st.code(words, "bash", wrap_lines=True)


page()
