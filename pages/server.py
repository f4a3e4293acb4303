"""What the server sees: the post of a round, letter by letter, and what can be read off each."""

from __future__ import annotations

import streamlit as st

from lab.attack_runs.reconstruction.quick_look import cheapest
from lab.attack_runs.reconstruction.server_snapshot import (
    SHOWN,
    ReceivedUpdate,
    ServerSnapshot,
    server_snapshot,
)
from lab.common.settings import SettingError
from lab.figures.example_images import framed, png, side_by_side
from lab.storage.replay import StoredRun
from lab.web.plain_text import plain
from lab.web.run_picker import pick_round, pick_run
from lab.web.session import sentence, store

WIDTH = 168  # pixels of a letter


def page() -> None:
    st.header("What the server sees", anchor=False)
    st.markdown(
        "The server never gets an example. This is what it gets instead, from each client in one "
        "round, and what the cheapest attack makes of it."
    )
    if (job := pick_run()) is None:
        return
    with st.sidebar:
        round = pick_round(job, [])
    st.caption(f"Round {round} of {job.experiment.title()}")
    try:
        post = _post(job.id, round)
    except SettingError as error:
        st.warning(plain(error))
        return
    if not post.letters:
        st.info(sentence(post.note or "nothing came in this round"))
        return
    _masked(post)
    _bare(post, summed=bool(post.masked))
    spy = cheapest(job.experiment.at(round).architecture)
    if spy is None:
        st.caption("No attack is cheap enough for this model: see Gradient inversion.")
    else:
        st.caption(
            f"Read by {spy.title}, within a second for all. More attacks, and every score: "
            "[Gradient inversion](inversion)."
        )


@st.cache_resource(max_entries=16, show_spinner="The round is played again")
def _post(run: str, round: int) -> ServerSnapshot:
    return server_snapshot(StoredRun(store(), run).replay(round))


def _masked(post: ServerSnapshot) -> None:
    if not post.masked:
        return
    st.subheader("From each client: noise", anchor=False)
    with st.container(horizontal=True, gap="small"):
        for letter in post.masked:
            whose = f"client {letter.senders[0]}"
            alt = f"The masked update of {whose}: noise"
            st.image(png(letter.picture, side=112), whose, width=112, alt=alt)


def _bare(post: ServerSnapshot, summed: bool) -> None:
    st.subheader("The sum of all" if summed else "From each client: its update", anchor=False)
    read = any(letter.reading is not None for letter in post.letters)
    if read:
        st.caption("Left: some numbers of the update. Right: private, and beside it what was read.")
    with st.container(horizontal=True, gap="medium"):
        for letter in post.letters:
            _letter(letter, summed)
    if post.came > len(post.letters):
        st.caption(f"{SHOWN} of {post.came} are shown.")


def _letter(letter: ReceivedUpdate, summed: bool) -> None:
    whose = f"{len(letter.senders)} clients" if summed else f"client {letter.senders[0]}"
    with st.container(width=3 * WIDTH // 2 if letter.reading is None else 2 * WIDTH + 56):
        columns = st.columns([1, 2]) if letter.reading is not None else [st.container()]
        length = "" if letter.norm is None else f", length {letter.norm:.3g}"
        columns[0].image(
            png(letter.picture, side=112), f"{whose}{length}", width=112,
            alt=f"The update of {whose}, as greys",
        )  # fmt: skip
        if letter.reading is not None and letter.private is not None:
            pair = side_by_side(framed(letter.private), framed(letter.reading))
            columns[1].image(
                png(pair, side=112), letter.told, width=2 * 112,
                alt=f"A private example of {whose}, and what was read off",
            )  # fmt: skip


page()
