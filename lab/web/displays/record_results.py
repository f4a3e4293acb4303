"""Private and reconstructed records of a table beside each other, in words."""

from __future__ import annotations

import streamlit as st
from torch import Tensor

from lab.interfaces.columns import cells_of
from lab.scoring.reconstruction.record_score import RecordScore
from lab.storage.job import Job, StoredProgress
from lab.web.session import sentence, store

SHOWN = 8  # records at most
RIGHT, WRONG = "✓", "✗"  # so that nobody need tell colours apart


def show(sights: list[StoredProgress], job: Job) -> None:
    last = sights[-1]
    found = RecordScore.read(last.body["score"])
    if job.status == "finished":
        st.subheader(sentence(found.verdict), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        st.metric("Records exact", f"{found.found} of {found.private}", width="content")
        st.metric("Of the guessed, exact", f"{found.precision:.0%}", width="content")
        st.metric("Cells right", f"{found.cells:.0%}", width="content")
        st.metric("Best guess without the gradient", f"{found.floor:.0%}", width="content")
        st.metric("Labels right", f"{found.labels:.0%}", width="content")
    rows = store().arrays.get(last.arrays)
    _records(found, rows, job)
    _columns(found)


def _records(found: RecordScore, rows: dict[str, Tensor], job: Job) -> None:
    """One small table for each record; nothing is left out but for room."""
    if not found.pairs:
        st.caption("The attack found no record.")
        return
    columns = store().run(str(job.run)).experiment.data.source.columns()
    cells = {name: cells_of(columns, each).tolist() for name, each in rows.items()}
    st.caption(f"{RIGHT} marks a reconstructed cell that is right, {WRONG} one that is not:")
    for place, pair in enumerate(found.pairs[:SHOWN]):
        if place % 2 == 0:  # anew, so that they come in order where columns are stacked
            shown = st.columns(2)
        private, guess = cells["private"][place], cells["guess"][place]
        words = {"private": {}, "reconstructed": {}}  # type: dict[str, dict[str, str]]
        for column, true, mine in zip(columns, private, guess, strict=True):
            words["private"][column.name] = column.word(true)
            mark = RIGHT if true == mine else WRONG
            words["reconstructed"][column.name] = f"{mark} {column.word(mine)}"
        with shown[place % 2]:
            st.markdown(f"**Record {place + 1}**: {pair.right} of {len(columns)} cells right")
            st.table(words)
    if len(found.pairs) > SHOWN:
        st.caption(f"{SHOWN} of {len(found.pairs)} are shown; the numbers count all.")


def _columns(found: RecordScore) -> None:
    """What a guess would have given, column by column."""
    st.markdown("**For comparison**, share of the private records")
    right = {name: f"{share:.0%}" for name, share in zip(found.columns, found.right, strict=True)}
    guess = {name: f"{share:.0%}" for name, share in zip(found.columns, found.common, strict=True)}
    st.table({"this attack": right, "commonest public cell": guess})
    floors = ", ".join(f"{name} {share:.0%}" for name, share in found.floors.items())
    st.caption(
        f"Cells right without the gradient: {floors}. The most similar other training record, "
        f"which only the truth tells, has {found.nearest:.0%}."
    )
