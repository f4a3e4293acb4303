"""Beside the curves of the Live page: what the server reads, earlier rounds, a pinned run."""

from __future__ import annotations

import streamlit as st

from lab.common.settings import SettingError
from lab.figures.example_images import data_uri, side_by_side
from lab.reports.comparison import differences, outcome, sides
from lab.reports.report_figures import of_comparison
from lab.scoring.reconstruction.image_scorer import ImageScore
from lab.scoring.reconstruction.text_score import TextScore
from lab.storage.job import Job, StoredProgress, StoredRound
from lab.storage.run_commands import RunCommands
from lab.web.displays.live_chart import redraw
from lab.web.run_picker import open_run
from lab.web.session import sentence, sights_of, store
from lab.web.visitor import catch_refusals, command, visitor

SIDE = 168  # pixels of a picture
SHOWN = 4  # pairs
PINNED = "pinned"  # the run, in the session's state


def reading(job: Job, mine: bool) -> None:
    """A toggle, and what the cheapest attack reads off the newest round."""
    on = store().watched(job.id)
    st.toggle(
        "What the server can read",
        on,
        key=f"watch {job.id}",
        disabled=not mine,
        on_change=command,
        args=(RunCommands(store()).watch, job.id, not on),
        help="The cheapest attack that suits, on one client's update as each round ends. "
        "[Glossary](glossary?entry=term.gradient%20inversion)",
    )
    if sights := sights_of(job.id):
        _read(sights[-1], job)
    elif on:
        st.caption("From the next round on.")


def _read(sight: StoredProgress, job: Job) -> None:
    pictures = store().arrays.get(sight.arrays)
    kind = sight.body.get("score", {}).get("kind")
    if kind == "images":
        found = ImageScore.read(sight.body["score"])
        pairs = zip(pictures["private"][:SHOWN], pictures["guess"][:SHOWN], strict=True)
        if pictures["private"].ndim == 4:
            shown = [data_uri(side_by_side(*pair), SIDE) for pair in pairs]
            st.image(shown, alt=[f"Private and read, pair {k + 1}" for k in range(len(shown))])
        st.markdown(
            f"**Round {sight.number}: {sentence(found.verdict)}.** Private on the left, read on "
            f"the right: {found.psnr:.0f} dB, where a guess without the update reaches "
            f"{found.floor:.0f}."
        )
    elif kind == "text":
        st.markdown(f"**Round {sight.number}**")
        for line in TextScore.read(sight.body["score"]).lines():
            st.text(line)


def rewind(job: Job, rounds: list[StoredRound]) -> list[StoredRound]:
    """A slider over the rounds of a run that stands still, and a branch from where it is.

    -> the rounds up to there
    """
    if job.active or len(rounds) < 2:
        return rounds
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    last = len(rounds)
    at = left.slider("Back to round", 1, last, last, key=f"rewind {job.id} {last}")
    right.button(
        f"Branch from round {at}",
        key="branch",
        on_click=_branch,
        args=(job.id, at),
        help="A new run with the same past. Change what you like, and resume it.",
    )
    return rounds[:at]


def _branch(run: str, round: int) -> None:
    with catch_refusals():
        open_run(RunCommands(store()).branch(run, round, visitor()))


def pin(job: Job) -> None:
    """Keep this run in sight while another one is tried."""
    if st.session_state.get(PINNED) == job.id:
        st.button("Unpin", key="unpin", on_click=_pin, args=(None,))
    else:
        st.button(
            "Pin",
            key="pin",
            on_click=_pin,
            args=(job.id,),
            help="Keep it in sight beside the next run you look at",
        )


def _pin(run: str | None) -> None:
    st.session_state[PINNED] = run


def pinned(job: Job) -> None:
    """This run beside the pinned one: curves, what differs, what came of both."""
    other = st.session_state.get(PINNED)
    if other in (None, job.id):
        return
    try:
        found = sides(store(), [store().run(other), job])
    except SettingError:  # it was deleted
        _pin(None)
        return
    if len(found) < 2:
        return
    st.subheader("Beside the pinned run", anchor=False)
    apart = differences([side.job.experiment for side in found])
    told = [
        f"`{path}` {before or 'none'} → {now or 'none'}" for path, (before, now) in apart.items()
    ]
    st.caption("; ".join(told) if told else "The same experiment.")
    (curves,) = of_comparison(found).values()
    redraw(curves, "beside", "Accuracy, loss and what was read of both runs")
    st.dataframe(
        [{"run": side.name} | outcome(side) | {"leaks": "; ".join(side.leaks)} for side in found],
        hide_index=True,
        alt="What came of both runs",
    )
