"""What somebody typed beside what was read, word by word, and what a guess would have given."""

from __future__ import annotations

from html import escape

import streamlit as st

from lab.scoring.reconstruction.text_score import Pair, TextScore
from lab.storage.job import Job, StoredProgress
from lab.web.session import sentence

SHOWN = 8  # sentences at most
RIGHT = "font-weight:700;text-decoration:underline;text-underline-offset:3px"
WRONG = "opacity:.7;text-decoration:line-through"


def show(sights: list[StoredProgress], job: Job) -> None:
    found = TextScore.read(sights[-1].body["score"])
    if job.status == "finished":
        st.subheader(sentence(found.verdict), anchor=False)
    with st.container(horizontal=True, gap="medium"):
        st.metric("Sentences exact", f"{found.exact} of {found.sentences}", width="content")
        st.metric("False sentences", str(found.false), width="content")
        st.metric("Words found", f"{found.found} of {found.distinct}", width="content")
        st.metric("F1 of words", f"{found.f1:.2f}", width="content")
        st.metric("Best guess without the gradient", f"{found.floor:.2f}", width="content")
        if found.next is not None:
            st.metric("Next words right", f"{found.next:.0%}", width="content")
    if found.guessed:
        _sentences(found)
    else:
        _bag(found)
    _beside(found)


def _sentences(found: TextScore) -> None:
    st.caption(
        "Typed above, read below; the last word is the next one, which the model learns. A word "
        "that is right in its place is bold and underlined, a wrong one is struck through."
    )
    rows = "".join(f"<li>{_pair(pair)}</li>" for pair in found.pairs[:SHOWN])
    st.html(f"<ol>{rows}</ol>")
    if found.sentences > SHOWN:
        shown = min(SHOWN, len(found.pairs))
        st.caption(f"{shown} of {found.sentences} are shown; the numbers count all.")


def _pair(pair: Pair) -> str:
    typed = " ".join((*pair.typed, "→", pair.next_typed))
    read = [_word(one, other) for one, other in zip(pair.guessed, pair.typed, strict=False)]
    if pair.next_guessed:
        read += ["→", _word(pair.next_guessed, pair.next_typed)]
    told = " ".join(read) or "<i>not read</i>"
    return f"<div>{escape(typed)}</div><div style='margin-bottom:.6em'>{told}</div>"


def _word(read: str, typed: str) -> str:
    if not read:
        return "<span>…</span>"
    style, name = (RIGHT, "right") if read == typed else (WRONG, "wrong")
    return f'<span title="{name}" style="{style}">{escape(read)}</span>'


def _bag(found: TextScore) -> None:
    """Words without order: those that were typed are bold."""
    if found.next_words:
        st.caption("Next words read, in no order: " + " ".join(found.next_words[: SHOWN * 4]))
    if not found.bag:
        st.caption("This attack claims none of the words that were typed before them.")
        return
    typed = {word for pair in found.pairs for word in pair.typed}
    whole = found.sentences <= len(found.pairs)
    st.caption(f"Words read, without their order; {found.wrong} of them nobody typed:")
    st.html(" ".join(_word(word, word if word in typed or not whole else "") for word in found.bag))
    st.caption("What was typed:")
    st.html("<br>".join(escape(" ".join(pair.typed)) for pair in found.pairs[:SHOWN]))


def _beside(found: TextScore) -> None:
    st.markdown("**For comparison**, F1 of all words")
    rows = {"this attack": found.f1} | found.floors
    st.table({"F1": {name: f"{value:.2f}" for name, value in rows.items()}})
    st.caption(
        f"{found.next_floor:.0%} of the most frequent next words of public text would be right."
    )
