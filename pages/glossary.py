"""Glossary: every word, every control and every part of the lab, with its source and a picture."""

from __future__ import annotations

import re

import streamlit as st

from lab import figures
from lab.engine.data.federation import whole
from lab.experiment.sections import DataSettings
from lab.figures.example_images import png
from lab.figures.toy_updates import of_lie, of_poison, of_rule, of_split, of_stage
from lab.interfaces.aggregation import AggregationRule, UpdateTransform
from lab.interfaces.data import DataSource, Partition
from lab.interfaces.poisoning import PoisoningAttack
from lab.interfaces.privacy_attacks import PrivacyAttack
from lab.models.inputs import as_floats
from lab.web.displays.chart import draw
from lab.web.glossary import Entry, glossary

FIRST = "term.federated learning"
PAPER = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
SHOWN = 12  # examples of a data set


def page() -> None:
    st.header("Glossary", anchor=False)
    known = glossary()
    chosen = _chosen(known)
    _entry(known[chosen])
    st.divider()
    st.subheader("Everything there is", anchor=False)
    kinds = dict.fromkeys(entry.kind for entry in known.values())
    for kind in kinds:
        here = [entry for entry in known.values() if entry.kind == kind]
        with st.expander(f"{_title(kind)} ({len(here)})"):
            st.markdown("\n".join(_line(entry) for entry in here))


def _chosen(known: dict[str, Entry]) -> str:
    """The entry of the address, or the one that is picked, which the address then holds."""
    keys = list(known)
    asked = st.query_params.get("entry", FIRST)
    if asked not in known:
        st.warning("The address asks for an entry that does not exist.")
        asked = FIRST
    chosen = st.selectbox(
        "Look up a word, a control, an attack or a defence: type a few letters",
        keys,
        keys.index(asked),
        format_func=lambda key: f"{known[key].name} · {known[key].kind}",
        key=f"entry {asked}",
    )
    if chosen != asked:
        st.query_params["entry"] = chosen
        st.rerun()
    return chosen


def _entry(entry: Entry) -> None:
    left, right = st.columns(2)
    with left:
        st.subheader(entry.name, anchor=False)
        st.caption(_title(entry.kind))
        st.markdown(entry.about)
        for name, words in entry.notes.items():
            st.markdown(f"**{_title(name)}**: {words}.")
        if entry.source:
            st.markdown(f"**Source**: {_linked(entry.source)}")
        if entry.settings:
            st.markdown("**Settings**")
            st.markdown("\n".join(f"- `{name}`: {told}" for name, told in entry.settings.items()))
    with right:
        _picture(entry)


def _picture(entry: Entry) -> None:
    """What the part does to something small, computed by the part itself."""
    part = entry.part
    if part is None:
        return
    if issubclass(part, PrivacyAttack):
        draw(figures.seats(part.seat), "picture", "Where the attacker sits")
        st.caption(f"The attacker is {part.attacker}.")
    elif issubclass(part, AggregationRule):
        draw(figures.toy(of_rule(part())), "picture", "Updates and the answer")
        st.caption("Ten updates, two of them malicious, and what this rule makes of them.")
    elif issubclass(part, UpdateTransform):
        draw(figures.toy(of_stage(part())), "picture", "Before and after")
        st.caption("Ten updates before this stage, and what it passes on.")
    elif issubclass(part, PoisoningAttack):
        _poison(part())
    elif issubclass(part, Partition):
        draw(figures.dealt(of_split(part())), "picture", "Who gets what")
        st.caption("Ten classes of 200 examples each, dealt out to eight clients.")
    elif issubclass(part, DataSource):
        _examples(part())


def _poison(poison: PoisoningAttack) -> None:
    if drawn := of_poison(poison):
        draw(figures.toy(drawn), "picture", "What malicious clients send")
        st.caption("Ten clients, two of them malicious: what these send in place of their update.")
    if lie := of_lie(poison):
        st.caption("A malicious client's pictures, and below them what it trains on instead.")
        st.image(
            [png(picture, side=72) for picture in lie.before],
            width=72,
            alt=[f"An example, {true}" for true, _ in lie.labels],
        )
        st.image(
            [png(picture, side=72) for picture in lie.after],
            caption=[f"as {meant}" for _, meant in lie.labels],
            width=72,
            alt=[f"What is trained on instead, as {meant}" for _, meant in lie.labels],
        )


def _examples(source: DataSource) -> None:
    if source.content == "text":
        st.caption("Sixteen words, of which the next is to be guessed.")
        inputs = whole(DataSettings(source=source, clients=2), 0).inputs[:SHOWN]
        words = source.classes
        st.dataframe([" ".join(words[int(one)] for one in row) for row in inputs], alt="Texts")
        return
    pool = whole(DataSettings(source=source, clients=2), 0)
    inputs, labels = as_floats(pool.inputs[:SHOWN]), pool.labels[:SHOWN].tolist()
    if source.content == "pictures":
        st.image(
            [png(picture, side=72) for picture in inputs],
            width=72,
            alt=[f"An example, {source.classes[label]}" for label in labels],
        )
        st.caption(f"{len(source.classes)} classes: {', '.join(source.classes)}.")
    else:
        st.dataframe(inputs.flatten(1).numpy(), alt="Examples, one a row")


def _line(entry: Entry) -> str:
    address = entry.key.replace(" ", "%20")
    return f"- [{entry.name}](?entry={address}): {entry.about}"


def _linked(source: str) -> str:
    return PAPER.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", source)


def _title(words: str) -> str:
    return words[:1].upper() + words[1:]


page()
