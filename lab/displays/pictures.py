"""Private and reconstructed pictures beside each other, and what a guess would have given."""

from __future__ import annotations

import streamlit as st

from lab import figures
from lab.likeness import Likeness
from lab.pictures import png, side_by_side
from lab.session import sentence, store
from lab.store import Job, Sight

SHOWN = 8  # pictures at most


def show(sights: list[Sight], job: Job) -> None:
    last = sights[-1]
    found = Likeness.read(last.body["likeness"])
    _verdict(found, job)
    _pictures(last, found)
    left, right = st.columns(2)
    steps = [sight.body["step"] for sight in sights]
    heights = [sight.body["likeness"]["psnr"] for sight in sights]
    left.plotly_chart(
        figures.approach(steps, heights, found.floor), key="approach", alt="PSNR by step"
    )
    with right:
        _beside(found)


def _verdict(found: Likeness, job: Job) -> None:
    if job.status == "finished":
        st.subheader(sentence(found.verdict), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        st.metric("PSNR", f"{found.psnr:.1f} dB", width="content")
        if found.ssim is not None:
            st.metric("SSIM", f"{found.ssim:.2f}", width="content")
        st.metric("Best guess without the gradient", f"{found.floor:.1f} dB", width="content")
        st.metric("Labels right", f"{found.labels:.0%}", width="content")


def _pictures(sight: Sight, found: Likeness) -> None:
    """Private and reconstructed, one below the other; nothing is left out but for room."""
    pictures = store().arrays.get(sight.arrays)
    if pictures["private"].ndim != 4:
        st.caption("Rows of a table: private above, reconstructed below.")
        st.dataframe(pictures["private"].numpy())
        st.dataframe(pictures["guess"].numpy())
        return
    st.caption("Private on the left, reconstructed on the right:")
    pairs = zip(pictures["private"][:SHOWN], pictures["guess"][:SHOWN], strict=True)
    shown = [png(side_by_side(private, guess)) for private, guess in pairs]
    st.image(shown, [f"{match.psnr:.1f} dB" for match in found.matches[:SHOWN]], width=240)
    if len(found.matches) > SHOWN:
        st.caption(f"{SHOWN} of {len(found.matches)} are shown; the numbers count all.")


def _beside(found: Likeness) -> None:
    """What a guess would have given, for the same examples and by the same matching."""
    st.markdown("**For comparison**, dB")
    rows = {"this attack": found.psnr} | found.floors
    rows["most similar other training example (needs the truth)"] = found.nearest
    st.table({"PSNR": {name: f"{value:.1f}" for name, value in rows.items()}})
    st.caption(
        f"Worst {found.worst:.1f}, median {found.median:.1f}, best {found.best:.1f} over "
        f"{found.counted}; {found.exact:.0%} above 60 dB, where only rounding is left. "
        f"{found.labels_floor:.0%} of evenly spread labels would be right."
    )
