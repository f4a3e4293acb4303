"""Membership: whether a released model betrays whom it was trained on."""

from __future__ import annotations

import streamlit as st

from lab import figures
from lab.parts import Inference
from lab.pictures import png
from lab.roc import Exposure
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
from lab.trial import Result, ceiling_of

EVERY = 0.5  # seconds between two looks at an attack that runs


def page() -> None:
    st.header("Membership inference", anchor=False)
    st.markdown(
        "Was this very example used for training? Whoever is given the model asks it, and looks "
        "how sure it is."
    )
    if (job := pick_run()) is None:
        return
    past = attacks_of(job, Inference)
    with st.sidebar:
        round = pick_round(job, past)
        spy = pick_spy(job, Inference, past)
    st.caption(f"The model of round {round}, {spy.kind}, on {job.experiment.title()}")
    order = Order(spy=spy, round=round)
    attack(
        job,
        order,
        past,
        _watch,
        EVERY,
        "Press Attack to see whether members of the training data stand out.",
    )


def _watch(id: str, status: str) -> None:
    job = followed(id, status)
    if not job.result:
        return
    result = Result.read(job.result)
    assert result.exposure is not None
    _numbers(result.exposure)
    left, right = st.columns(2)
    ceiling = ceiling_of(result.guarantee)
    left.plotly_chart(figures.roc(result.exposure, ceiling), key="roc", alt="ROC on log axes")
    if result.guarantee:
        left.caption(f"Guaranteed: {result.guarantee.sentence()}.")
    else:
        left.caption("No privacy guarantee, so there is no ceiling on what an attack can reach.")
    right.plotly_chart(figures.histogram(result.exposure), key="scores", alt="Histogram of scores")
    with right:
        _exposed(job)
    with st.expander("What was assumed"):
        st.table({"": result.declared})


def _numbers(found: Exposure) -> None:
    st.subheader(sentence(found.verdict), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        st.metric("AUC", f"{found.auc:.3f}", width="content")
        for rate in found.rates:
            name = f"TPR at {rate.false_positives:.1%} FPR"
            value = "too few to say" if rate.value is None else f"{rate.value:.2%}"
            st.metric(name, value, width="content", help=rate.sentence())
        if found.blind is not None:
            st.metric("Blind guess, AUC", f"{found.blind:.3f}", width="content")
        if found.ceiling_auc is not None:
            st.metric("Ceiling, AUC", f"{found.ceiling_auc:.3f}", width="content")
    told = [
        f"AUC between {found.auc_low:.3f} and {found.auc_high:.3f} (95 %, bootstrap), from "
        f"{found.members:,} members and {found.others:,} others",
        *(rate.sentence() for rate in found.rates),
        sentence(found.baseline()),
    ]
    st.caption(". ".join(told) + ".")


def _exposed(job: Job) -> None:
    """The members that give themselves away most, and least."""
    pictures = store().arrays.get(store().sights(job.id)[-1].arrays)
    for name in ("most", "least"):
        st.markdown(f"**The {name} exposed members**")
        if pictures[name].ndim == 4:
            st.image([png(picture, side=56) for picture in pictures[name]], width=64)
        else:
            st.dataframe(pictures[name].numpy())


page()
