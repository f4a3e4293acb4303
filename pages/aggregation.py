"""Secure aggregation: what the server sees of a round, and what attacks get out of it."""

from __future__ import annotations

import streamlit as st

from lab.attack_runs.secure_aggregation.masked_round import MaskedRound, masked_round
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.figures.example_images import png, side_by_side
from lab.interfaces.privacy_attacks import SecureAggregationAttack
from lab.scoring.attack_result import AttackResult
from lab.scoring.reconstruction.image_score import ImageScore
from lab.scoring.update_score import UpdateRecoveryScore
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.web.attack_panel import attack, attacks_of, followed, pick_spy
from lab.web.plain_text import plain
from lab.web.run_picker import pick_round, pick_run
from lab.web.session import sentence, store

EVERY = 0.5  # seconds between two looks at an attack that runs
VECTORS = {
    "sent": "sent (hidden from the server)",
    "claimed": "what the attack says",
    "mean": "the mean that everybody gets",
}


def page() -> None:
    st.header("Secure aggregation", anchor=False)
    st.markdown(
        "Every client hides its update under masks that cancel only in the sum. The server gets "
        "noise from each, and the sum of all: here is what it saw, and what a dishonest server "
        "gets out of it."
    )
    if (job := pick_run()) is None:
        return
    past = attacks_of(job, SecureAggregationAttack)
    with st.sidebar:
        round = pick_round(job, past)
    if not job.experiment.at(round).secure_aggregation.enabled:
        _switched_off(job, round)
        return
    st.subheader(f"What the server saw in round {round}", anchor=False)
    try:
        shown = _shown(job.id, round)
    except SettingError as error:
        st.warning(plain(error))
        return
    _seen(shown)
    st.caption(". ".join(shown.sentences()) + ".")
    if shown.arrived:
        _attack(job, round, past)


@st.cache_resource(max_entries=16, show_spinner="The round is played again")
def _shown(run: str, round: int) -> MaskedRound:
    return masked_round(
        StoredRun(store(), run).state(round - 1), StoredRun(store(), run).replay(round)
    )


def _switched_off(job: Job, round: int) -> None:
    st.info(
        f"Round {round} of run {job.id} has no secure aggregation: the server got every update as "
        "it was. Switch Secure aggregation on in the sidebar of the Live page, or choose another."
    )
    try:
        switched = job.experiment.changed({"secure_aggregation.enabled": True})
    except SettingError as error:
        st.caption(f"This run would need other changes as well: {plain(error)}")
        return
    st.caption("The same run under masks, from the command line:")
    st.code(switched.command(), "bash", wrap_lines=True)


def _seen(shown: MaskedRound) -> None:
    """Each row as it came, beside what was underneath."""
    if shown.mean is None:
        st.warning(sentence(shown.note))
        return
    st.caption(
        "Of each client the masked row, on the left, and on the right the update underneath, "
        f"which is hidden from the server. The same {shown.mean[0].numel()} numbers of each as "
        "greys; p is the chance that random bytes are spread as unevenly (chi-square)."
    )
    with st.container(horizontal=True, gap="small"):
        for each in shown.seen:
            st.image(
                png(side_by_side(each.masked, each.sent)), each.caption, width=160,
                alt=f"Noise on the left, the update of client {each.client} on the right",
            )  # fmt: skip
    st.caption(f"And the mean of those {shown.arrived}, which is all that the server learns:")
    st.image(png(shown.mean), width=112, alt="The mean of the updates, as greys")


def _attack(job: Job, round: int, past: list[Job]) -> None:
    st.subheader("Attack it", anchor=False)
    there = store().rounds(job.id, after=round - 1)[0].record.arrived
    last = past[0].order.client if past else None
    start = there.index(last) if last in there else 0
    with st.sidebar:
        client = st.selectbox("Client", there, start, key=f"target of {job.id}, {round}")
        spy = pick_spy(job, SecureAggregationAttack, past)
    st.caption(f"Round {round}, client {client}, {spy.title}")
    order = AttackRequest(attack=spy, round=round, client=client)
    attack(
        job,
        order,
        past,
        _watch,
        EVERY,
        "Press Attack to see whether this client's update can be had.",
    )


def _watch(id: str, status: str) -> None:
    """The attack as it goes on; only this part of the page is redrawn."""
    job = followed(id, status)
    sights = store().sights(id)
    if job.active and sights:
        st.progress(sights[-1].body["step"] / max(1, sights[-1].body["steps"]))
    if not job.result:
        return
    result = AttackResult.read(job.result)
    assert isinstance(result.score, UpdateRecoveryScore)
    _numbers(result.score)
    _pictures(sights[-1].arrays, result)
    with st.expander("What was assumed"):
        st.table({"": result.declared})


def _numbers(found: UpdateRecoveryScore) -> None:
    st.subheader(sentence(found.verdict), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        if found.best:
            st.metric("Cosine to the update sent", f"{found.best.cosine:.4f}", width="content")
            st.metric("Relative error", f"{found.best.error:.2g}", width="content")
        base = found.baseline
        st.metric("Cosine of the mean", f"{base.cosine:.4f}", width="content")
        st.metric("Error of the mean", f"{base.error:.2g}", width="content")
        if found.best:
            claimed = f"{found.claimed:,} of {found.params:,}"
            st.metric("Parameters claimed", claimed, width="content")
    if len(found.course) > 1:
        st.table(
            {
                "": [one.name for one in found.course],
                "Cosine": [f"{one.cosine:.4f}" for one in found.course],
                "Relative error": [f"{one.error:.2g}" for one in found.course],
            }
        )
    for note in found.notes:
        st.markdown(f"- {sentence(note)}.")


def _pictures(arrays: str, result: AttackResult) -> None:
    pictures = store().arrays.get(arrays)
    shown = {name: told for name, told in VECTORS.items() if name in pictures}
    with st.container(horizontal=True, gap="medium"):
        for name, told in shown.items():
            st.image(png(pictures[name][0]), told, width=144, alt=f"An update as greys: {told}")
    revealed = result.find(ImageScore)
    if revealed is None or pictures["private"].ndim != 4:
        return
    st.caption(
        "What that update shows of an example, read off its first layer: private on the left, "
        f"read off on the right. {sentence(revealed.verdict)}; PSNR "
        f"{revealed.psnr:.1f} dB, and {revealed.floor:.1f} dB for the best guess "
        "without it."
    )
    pair = side_by_side(pictures["private"][0], pictures["guess"][0])
    st.image(png(pair), width=240, alt="A private example, and what was read off")


page()
