"""Gradient inversion: what a client's update shows of its private examples."""

from __future__ import annotations

from hashlib import sha256

import streamlit as st
from torch import Tensor

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.figures.example_images import png
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.models.layers import Shape
from lab.scoring.attack_result import AttackResult
from lab.scoring.tampering_signs import TamperingSigns
from lab.storage.administration import delete_runs
from lab.storage.job import Job
from lab.storage.uploads import MEGABYTES, decoded
from lab.web import displays
from lab.web.attack_panel import attack, attacks_of, followed, pick_spy
from lab.web.plain_text import plain
from lab.web.run_picker import pick_round, pick_run
from lab.web.session import sentence, sights_of, store
from lab.web.uploaded_picture import offer_picture
from lab.web.visitor import command

SHRUNK = "shrunk picture"  # in the session's state: what was uploaded last, and what it became
EVERY = 0.1  # seconds between two looks at an attack that runs
CLIENTS, OWN = "A client's", "My own"


def page() -> None:
    st.header("Gradient inversion", anchor=False)
    st.markdown(
        "Clients send updates instead of data. The server looks for inputs that would have caused "
        "the very update that it received; a malicious one first sends a model of its own making."
    )
    if (job := pick_run()) is None:
        return
    past = attacks_of(job, ReconstructionAttack)
    with st.sidebar:
        whose = st.radio(
            "Whose picture", [CLIENTS, OWN], _first(past), horizontal=True, key=f"whose of {job.id}"
        ) if _has_pictures(job) else CLIENTS  # fmt: skip
        round = pick_round(job, past)
        target = _pick_own(job, past) if whose == OWN else _pick_client(job, round, past)
        spy = pick_spy(job, ReconstructionAttack, past)
    if not target:
        _nothing(job, round, whose)
        return
    order = AttackRequest(attack=spy, round=round, **target)
    client = "a picture of your own" if whose == OWN else f"client {order.client}"
    st.caption(f"Round {round}, {client}, {spy.title}, on {job.experiment.title()}")
    attack(job, order, past, _watch, EVERY, "Press Attack to see what this update gives away.")
    if whose == OWN:
        _forget_button([one for one in past if one.order.picture == order.picture])


def _has_pictures(job: Job) -> bool:
    return job.experiment.data.source.content == "pictures"


def _first(past: list[Job]) -> int:
    return int(bool(past) and past[0].order.picture is not None)


def _nothing(job: Job, round: int, whose: str) -> None:
    if whose == OWN:
        st.info("Choose a picture in the sidebar, to see what a server would see of it.")
        return
    note = store().rounds(job.id, after=round - 1)[0].record.note
    st.warning(f"Nobody's update arrived in round {round}: choose another. {note}")


def _pick_own(job: Job, past: list[Job]) -> dict[str, str | int]:
    """A picture that was just uploaded, or the one that was attacked last.  -> of an order"""
    source = job.experiment.data.source
    given = st.file_uploader(
        "Your picture",
        ["png", "jpg", "jpeg"],
        max_upload_size=MEGABYTES,
        help="Its middle is shrunk to the size of the run's pictures. The lab keeps that when you "
        "press Attack, and deletes it with the attack. Other visitors do not see it; whoever "
        "looks after this lab can read its files.",
    )
    last = next((one.order for one in past if one.order.picture), None)
    label = st.selectbox(
        "Trained on as",
        range(len(source.classes)),
        last.label if last else 0,
        format_func=lambda k: source.classes[k],
        key=f"label of {job.id}",
    )
    st.caption("One honest step on it, without privacy, compression and masks of the run.")
    picture = last.picture if last else None
    if given is not None:
        try:
            shrunk = _shrunk(given.getvalue(), source.shape)
        except SettingError as error:
            st.error(plain(error))
            return {}
        picture = offer_picture(shrunk)
        st.image(
            png(shrunk[0].float() / 255), "As the client trains on it", width=112,
            alt="Your picture, shrunk",
        )  # fmt: skip
    return {} if picture is None else {"picture": picture, "label": label}


def _shrunk(content: bytes, shape: Shape) -> Tensor:
    """As `decoded`, once for each file and shape, however often the page is drawn.

    This visitor's session keeps it: a large file takes a second, and no other session sees it.
    Raises SettingError, each time.
    """
    asked = sha256(content).digest(), shape
    known: tuple[object, Tensor | SettingError] = st.session_state.get(
        SHRUNK, (None, SettingError())
    )
    if known[0] != asked:
        try:
            known = asked, decoded(content, shape)
        except SettingError as error:
            known = asked, error
        st.session_state[SHRUNK] = known
    if isinstance(known[1], SettingError):
        raise known[1]
    return known[1]


def _forget_button(past: list[Job]) -> None:
    """Deletes this visitor's last attack on a picture of its own, and the picture with it."""
    last = next((one for one in past if one.order.picture), None)
    if last and not last.active:
        st.button("Delete this attack and the picture", on_click=_forget, args=(last.id,))


def _forget(id: str) -> None:
    st.session_state.pop(SHRUNK, None)
    command(_clear, id)


def _clear(attack: str) -> None:
    delete_runs(store(), [attack])


def _pick_client(job: Job, round: int, past: list[Job]) -> dict[str, str | int]:
    """Somebody whose update arrived in that round, and what the server saw.  -> of an order"""
    there = store().rounds(job.id, after=round - 1)[0].record.arrived
    if not there:
        return {}
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
    return {"client": chosen}


def _watch(id: str, status: str) -> None:
    """The reconstruction as it develops; only this part of the page is redrawn."""
    job = followed(id, status)
    sights = sights_of(id)
    if not sights:
        return
    displays.show(sights, job)
    if job.result:
        result = AttackResult.read(job.result)
        _noticed(result)
        took = {} if result.seconds is None else {"seconds": f"{result.seconds:.1f}"}
        with st.expander("What was assumed"):
            st.table({"": took | result.declared})


def _noticed(result: AttackResult) -> None:
    """Signs of tampering, where the clients were sent a planted model."""
    noticed = result.find(TamperingSigns)
    if noticed is None:
        return
    raised = [sign for sign in noticed.signs if sign.raised]
    rest = [sign for sign in noticed.signs if not sign.raised]
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
