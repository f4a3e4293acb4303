"""Private and reconstructed pictures beside each other, and what a guess would have given."""

from __future__ import annotations

import json
from collections.abc import Mapping

import streamlit as st
from torch import Tensor

from lab import figures
from lab.figures.example_images import SIDE, data_uri, side_by_side
from lab.reports.result_files import sheet_of
from lab.scoring.reconstruction.image_scorer import ImageScore
from lab.storage.job import Job, StoredProgress
from lab.web.displays.live_chart import redraw
from lab.web.session import sentence, store

SHOWN = 16  # pairs on one page
WIDTH = 168  # pixels of a pair: two beside each other on a phone


def show(sights: list[StoredProgress], job: Job) -> None:
    last = sights[-1]
    found = ImageScore.read(last.body["score"])
    pictures = store().arrays.get(last.arrays)
    _verdict(found, job)
    _pictures(pictures, found)
    left, right = st.columns(2)
    steps = [sight.body["step"] for sight in sights]
    heights = [sight.body["score"]["psnr"] for sight in sights]
    if len(sights) > 1:
        redraw(figures.approach(steps, heights, found.floor), "approach", "PSNR by step", left)
    with right:
        _beside(found)
    if job.result:
        _downloads(pictures, job)


def _verdict(found: ImageScore, job: Job) -> None:
    if job.result:
        st.subheader(sentence(found.verdict), anchor=False)
    numbers = {"PSNR": f"{found.psnr:.1f} dB"}
    if len(found.matches) + found.missing > 1:
        numbers |= {"Median": f"{found.median:.1f} dB", "Worst": f"{found.worst:.1f} dB"}
    numbers |= {
        "Best guess without the gradient": f"{found.floor:.1f} dB",
        "Labels right": f"{found.labels:.0%}",
    }
    with st.container(horizontal=True, gap="medium"):
        for name, value in numbers.items():
            st.metric(name, value, width="content")


def _pictures(pictures: Mapping[str, Tensor], found: ImageScore) -> None:
    """All of them, private beside reconstructed, page by page where they are many."""
    private, guesses = pictures["private"], pictures["guess"]
    if private.ndim != 4:
        st.caption("Rows of a table: private above, reconstructed below.")
        st.dataframe(private.numpy(), alt="Private examples")
        st.dataframe(guesses.numpy(), alt="Reconstructed examples")
        return
    count, start = len(found.matches), 0
    if count > SHOWN:
        pages = -(-count // SHOWN)
        start = SHOWN * (
            st.number_input(f"Page of {pages}", 1, pages, key="page of pairs", width=160) - 1
        )
    places = range(start, min(start + SHOWN, count))
    st.caption(f"Private on the left, reconstructed on the right: {found.counted}.")
    captions, large = found.captions(), 1 if count > 1 else 2  # a single pair has room
    with st.container(horizontal=True, gap="small"):
        for k in places:
            st.image(
                data_uri(side_by_side(private[k], guesses[k]), large * SIDE),
                captions[k],
                width=large * WIDTH,
                alt=f"Private picture and its reconstruction, {captions[k]}",
            )


def _beside(found: ImageScore) -> None:
    """What a guess would have given, for the same examples and by the same matching."""
    st.markdown("**For comparison**")
    st.table({"PSNR, dB": {name: f"{value:.1f}" for name, value in found.compared().items()}})
    similar = "" if found.ssim is None else f", SSIM {found.ssim:.2f}"
    told = [
        f"{found.gain:+.1f} dB over the best guess without the gradient (median over examples)"
        + similar,
        f"Best {found.best:.1f} dB; {found.exact:.0%} above 60 dB, where only rounding is left",
        f"{found.labels_floor:.0%} of evenly spread labels would be right",
    ]
    if found.association is not None:
        told.append(f"{found.association:.0%} of labels are right beside their own picture")
    told += found.silence()
    if found.identified:
        told += [sentence(found.identified.sentence()), found.identified.crowd()]
    st.caption(". ".join(told) + ".")


def _downloads(pictures: Mapping[str, Tensor], job: Job) -> None:
    """What `--out` writes, one file at a time."""
    with st.container(horizontal=True):
        if sheet := sheet_of(pictures):
            st.download_button(
                "Pictures, PNG", sheet, f"leaklab-{job.id}.png", "image/png", on_click="ignore"
            )
        text = json.dumps(job.result, indent=2)
        st.download_button(
            "Result, JSON", text, f"leaklab-{job.id}.json", "application/json", on_click="ignore"
        )
