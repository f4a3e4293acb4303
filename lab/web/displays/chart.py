"""A chart: a figure on a page, drawn and saved the same way everywhere."""

from __future__ import annotations

from contextlib import nullcontext

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.figures.style import buttons


def draw(figure: go.Figure, name: str, alt: str, place: DeltaGenerator | None = None) -> None:
    """name: unique on its page, and of the file that the camera in its corner saves

    place: such as a column; by default below what is there
    """
    with nullcontext() if place is None else place:
        st.plotly_chart(figure, key=name, alt=alt, config=buttons(name))
