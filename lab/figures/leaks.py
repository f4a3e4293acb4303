"""What leaked: ROC and scores of membership, the approach of a reconstruction."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import log10

import numpy as np
import plotly.graph_objects as go

from lab.figures.style import BLUE, GREEN, GREY, ORANGE, dress
from lab.roc import Ceiling, Exposure


def roc(exposure: Exposure, ceiling: Ceiling | None = None) -> go.Figure:
    """The ROC on logarithmic axes with its band, the diagonal of chance, and privacy's ceiling."""
    curve, least = exposure.curve, 1 / exposure.others
    keep = [k for k, rate in enumerate(curve.false_positives) if rate >= least]
    x = [curve.false_positives[k] for k in keep]
    low = [max(curve.low[k], 1e-9) for k in keep]
    high = [max(curve.high[k], 1e-9) for k in keep]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[*x, *reversed(x)], y=[*high, *reversed(low)], fill="toself", name="95 % band",
            mode="lines", line={"width": 0}, fillcolor="rgba(0,114,178,0.2)", hoverinfo="skip",
        )
    )  # fmt: skip
    found = [max(curve.true_positives[k], 1e-9) for k in keep]
    figure.add_trace(go.Scatter(x=x, y=found, name="attack", line={"color": BLUE, "width": 3}))
    figure.add_trace(
        go.Scatter(x=x, y=x, name="chance", mode="lines", line={"color": GREY, "dash": "dash"})
    )
    if ceiling:
        name = f"ceiling of epsilon {ceiling.epsilon:.3g}"
        best = ceiling.true_positives(np.array(x)).tolist()
        line = {"color": GREEN, "dash": "dot", "width": 3}
        figure.add_trace(go.Scatter(x=x, y=best, name=name, mode="lines", line=line))
    bounds = [log10(least), 0]
    rates = {"type": "log", "range": bounds, "tickformat": "~g", "dtick": 1}
    figure.update_xaxes(title_text="false-positive rate", **rates)
    figure.update_yaxes(title_text="true-positive rate", **rates)
    return dress(figure, 460)


def histogram(exposure: Exposure) -> go.Figure:
    """How the scores of members and of others are distributed."""
    edges, figure = exposure.histogram["edges"], go.Figure()
    middles = [(one + other) / 2 for one, other in pairwise(edges)]
    for name, colour, shape in (("members", ORANGE, ""), ("others", BLUE, "/")):
        marker = {"color": colour, "pattern": {"shape": shape}}
        y = exposure.histogram[name]
        figure.add_trace(go.Bar(x=middles, y=y, name=name, marker=marker, opacity=0.65))
    figure.update_layout(barmode="overlay", bargap=0)
    figure.update_xaxes(title_text="score: the higher, the likelier a member")
    figure.update_yaxes(title_text="share", tickformat=".0%")
    return dress(figure, 300)


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
