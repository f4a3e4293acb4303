"""A chart: a figure on a page, drawn and saved the same way everywhere."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.figures.style import buttons


def draw(
    figure: go.Figure,
    name: str,
    alt: str,
    place: DeltaGenerator | None = None,
    pointed: Callable[[], None] | None = None,
) -> None:
    """name: unique on its page, and of the file that the camera in its corner saves

    place: such as a column; by default below what is there.  pointed: after points were chosen;
    they are in the session's state under the name.
    """
    config = buttons(name)
    with nullcontext() if place is None else place:
        if pointed is None:
            st.plotly_chart(figure, key=name, alt=alt, config=config)
        else:
            st.plotly_chart(
                figure, key=name, alt=alt, config=config, on_select=pointed, selection_mode="points"
            )
