"""Gradient inversion: what a client's update shows of its private examples."""

from __future__ import annotations

import streamlit as st

from lab import displays
from lab.parts import Reconstruction
from lab.session import (
    attack,
    attacks_of,
    followed,
    pick_round,
    pick_run,
    pick_spy,
    sentence,
    store,
)
from lab.store import Job, Order
from lab.trial import Result

EVERY = 0.25  # seconds between two looks at an attack that runs


def page() -> None:
    st.header("Gradient inversion", anchor=False)
    st.markdown(
        "Clients send updates instead of data. The server looks for inputs that would have caused "
        "the very update that it received; a malicious one first sends a model of its own making."
    )
    if (job := pick_run()) is None:
        return
    past = attacks_of(job, Reconstruction)
    with st.sidebar:
        round = pick_round(job, past)
        client = _pick_client(job, round, past)
        spy = pick_spy(job, Reconstruction, past)
    if client is None:
        note = store().rounds(job.id, after=round - 1)[0].record.note
        st.warning(f"Nobody's update arrived in round {round}: choose another. {note}")
        return
    st.caption(f"Round {round}, client {client}, {spy.kind}, on {job.experiment.title()}")
    order = Order(spy=spy, round=round, client=client)
    attack(job, order, past, _watch, EVERY, "Press Attack to see what this update gives away.")


def _pick_client(job: Job, round: int, past: list[Job]) -> int | None:
    """Somebody whose update arrived in that round, and what the server saw of it."""
    there = store().rounds(job.id, after=round - 1)[0].record.arrived
    if not there:
        return None
    last = past[0].order.client if past else None
    start = there.index(last) if last in there else 0
    chosen = st.selectbox("Client", there, start, key=f"client of {job.id}, {round}")
    now = job.experiment.at(round)
    if now.secure_aggregation.enabled:
        many = now.secure_aggregation.buckets > 1
        got = "sums of some updates each" if many else f"the sum of {len(there)} updates"
        st.caption(f"Under secure aggregation the server got {got}.")
    else:
        st.caption("The server got this client's own update.")
    if now.privacy.kind != "none":
        bare = now.privacy.place == "central"
        when = (
            "after it had come, which does not hinder the server" if bare else "before it was sent"
        )
        st.caption(f"Noise was added {when}: {now.privacy.kind}-level privacy.")
    return chosen


def _watch(id: str, status: str) -> None:
    """The reconstruction as it develops; only this part of the page is redrawn."""
    job = followed(id, status)
    sights = store().sights(id)
    if not sights:
        return
    displays.show(sights, job)
    if job.result:
        result = Result.read(job.result)
        _noticed(result)
        with st.expander("What was assumed"):
            st.table({"": result.declared})


def _noticed(result: Result) -> None:
    """Signs of tampering, where the clients were sent a planted model."""
    if result.noticed is None:
        return
    raised = [sign for sign in result.noticed if sign.raised]
    rest = [sign for sign in result.noticed if not sign.raised]
    with st.expander("What a careful client could have noticed", expanded=bool(raised)):
        for sign in raised:
            st.warning(f"{sentence(sign.name)}: {sign.told}")
        if not raised:
            st.info("Nothing that Leaklab looks at gives this model away.")
        for sign in rest:
            st.markdown(f"- {sentence(sign.name)}: {sign.told}")
        if any(sign.raised is None for sign in rest):
            st.caption(
                "Dead neurons, jumps of the weights and losses as large occur in honest rounds, "
                "too, so that they raise no alarm by themselves."
            )


page()
