"""An attack that names labels and shows no picture."""

from __future__ import annotations

import streamlit as st

from lab.scoring.reconstruction.label_score import LabelScore
from lab.storage.job import Job, StoredProgress
from lab.web.session import sentence, store


def show(sights: list[StoredProgress], job: Job) -> None:
    found = LabelScore.read(sights[-1].body["score"])
    st.subheader(sentence(found.verdict), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        st.metric("Labels right", f"{found.right:.0%}", width="content")
        st.metric("Evenly spread guess", f"{found.floor:.0%}", width="content")
    st.caption("Examples of each class. This attack shows no picture.")
    classes = store().run(str(job.run)).experiment.data.source.classes
    st.table(
        {
            "guessed": dict(zip(classes, found.guessed, strict=True)),
            "true": dict(zip(classes, found.true, strict=True)),
        }
    )
