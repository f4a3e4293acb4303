"""A chart that changes while one looks at it.

Streamlit's own is taken away and put back whenever its figure changes: it flashes, and a zoom is
lost.  This one stays where it is.  The server brings plotly's script, see `lab.web.server`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from lab.figures.style import buttons

HERE = Path(__file__).parent
_chart = st.components.v2.component(
    "leaklab_chart",
    html='<div class="stPlotlyChart lively" data-testid="stPlotlyChart" role="figure"></div>',
    css=(HERE / "live_chart.css").read_text(encoding="utf-8"),
    js=(HERE / "live_chart.js").read_text(encoding="utf-8"),
    isolate_styles=False,  # plotly writes its own into the page
)


def redraw(
    figure: go.Figure,
    name: str,
    alt: str,
    place: DeltaGenerator | None = None,
    pointed: Callable[[int], None] | None = None,
) -> None:
    """As `draw` does, for a part of a page that is redrawn again and again.

    pointed: is told the number that a marker has as `customdata`, after a click on it
    """

    def clicked() -> None:
        """A browser may send whatever it likes: only a number of a marker is told."""
        number = st.session_state[name]["pointed"]
        numbers = {one for trace in figure.data for one in trace.customdata or ()}
        if pointed and type(number) is int and number in numbers:
            pointed(number)

    data = {"figure": figure.to_json(), "alt": alt, "config": buttons(name)}
    with nullcontext() if place is None else place:
        _chart(
            key=name,
            data=data | {"clickable": pointed is not None},
            on_pointed_change=clicked if pointed else None,
        )
