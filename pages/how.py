"""How it works: seven ideas, a picture and a sentence each, all of them computed here and now."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from datasets import PARTITIONS
from defenses import AGGREGATION_RULES
from lab import ROOT, figures
from lab.figures.example_images import framed, png
from lab.figures.toy_updates import of_rule, of_split
from lab.web.displays.chart import draw
from lab.web.guided_tour import EPOCHS, memory, stop

SIDE = 168  # pixels of a picture


def page() -> None:
    st.header("How it works", anchor=False)
    st.markdown(
        "Federated learning in seven pictures. Nothing is a drawing of what might happen: each one "
        "was computed a moment ago by the same code that runs your experiments."
    )
    for number, (title, show) in enumerate(IDEAS.items(), 1):
        st.divider()
        st.subheader(f"{number}. {title}", anchor=False)
        show()


def _travel() -> None:
    st.markdown(
        "Every client trains the shared model on its own data and sends back only what changed: "
        "its [update](glossary?entry=term.update). The server averages the updates."
    )
    draw(figures.seats(""), "travel", "Clients, server, and everybody else")


def _bare() -> None:
    st.markdown(
        "An update is computed from the data, and it tells. A client took one step on one picture; "
        "this is what the [server reads](glossary?entry=privacy-attacks.first-layer) off it."
    )
    _read("bare")


def _masked() -> None:
    st.markdown(
        "With [secure aggregation](glossary?entry=term.secure%20aggregation) the server learns the "
        "sum of all updates and no single one. Of four clients it reads a mixture; a larger sum "
        "says less, and still it says something."
    )
    _read("masked")


def _noisy() -> None:
    st.markdown(
        "With [differential privacy](glossary?entry=term.differential%20privacy) every gradient is "
        "shortened and noise is added before it leaves. Of this picture nothing is left to read, "
        "and the price is accuracy."
    )
    _read("noisy")


def _released() -> None:
    st.markdown(
        "Even the finished model remembers. An "
        "[outsider](glossary?entry=term.membership%20inference) asks it about an example, and how "
        "sure it is tells whether the example was in the training data."
    )
    found = memory()
    draw(figures.histogram(found), "memory", "Scores of members and others")
    st.caption(
        f"A model that went over {found.members} pictures {EPOCHS} times. AUC {found.auc:.2f} "
        f"(95 % {found.auc_low:.2f} to {found.auc_high:.2f}); 0.5 is a coin."
    )
    st.page_link(ROOT / "pages" / "membership.py", label="Try it on a run of yours: Membership")


def _skew() -> None:
    st.markdown(
        "Real clients differ. Left, all hold alike; right, each holds "
        "[its own mix](glossary?entry=partitions.dirichlet), and the average suits nobody as well."
    )
    left, right = st.columns(2)
    draw(figures.dealt(of_split(PARTITIONS["iid"]())), "iid", "Alike", left)
    uneven = PARTITIONS["dirichlet"].model_validate({"alpha": 0.3})
    draw(figures.dealt(of_split(uneven)), "skewed", "Skewed", right)


def _liars() -> None:
    st.markdown(
        "Some clients may lie. Two of ten drag the "
        "[mean](glossary?entry=aggregation-rules.mean) away, on the left; the "
        "[median](glossary?entry=aggregation-rules.median) holds, on the right. No rule "
        "holds against all lies."
    )
    left, right = st.columns(2)
    draw(figures.toy(of_rule(AGGREGATION_RULES["mean"]())), "mean", "The mean", left)
    draw(figures.toy(of_rule(AGGREGATION_RULES["median"]())), "median", "The median", right)


def _read(name: str) -> None:
    found = stop(name)
    with st.container(horizontal=True, gap="medium"):
        for picture, told in (
            (found.private, "private, on the device"),
            (found.guess, "read off the update"),
        ):
            st.image(png(framed(picture), SIDE), told, alt=f"A picture, {told}")
    st.caption(
        f"{found.likeness.psnr:.0f} dB; the best guess without the update reaches "
        f"{found.likeness.floor:.0f} dB. 20 is a blurred likeness, 46 cannot be told apart."
    )


IDEAS: dict[str, Callable[[], None]] = {
    "The data stay, updates travel": _travel,
    "An update is made of the data": _bare,
    "Masks hide one update among many": _masked,
    "Noise hides what is left": _noisy,
    "The finished model remembers": _released,
    "Clients differ": _skew,
    "Clients may lie": _liars,
}

page()
