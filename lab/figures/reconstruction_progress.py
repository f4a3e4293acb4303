"""What leaked: the approach of a reconstruction."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from lab.figures.style import BLUE, GREY, dress


def approach(steps: Sequence[int], psnr: Sequence[float], floor: float) -> go.Figure:
    """How near a reconstruction came, step by step, above the best guess without the gradient."""
    figure = go.Figure(
        go.Scatter(x=list(steps), y=list(psnr), name="reconstruction", line={"color": BLUE})
    )
    figure.add_hline(
        y=floor, line={"color": GREY, "dash": "dash"}, annotation_text="best guess without it"
    )
    figure.update_xaxes(title_text="step of the attack")
    figure.update_yaxes(title_text="PSNR, dB", rangemode="tozero")
    return dress(figure, 260)
