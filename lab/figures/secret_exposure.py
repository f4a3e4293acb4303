"""Secrets: how exposed they are, against how often they were typed."""

from __future__ import annotations

import plotly.graph_objects as go

from lab.figures.style import BLUE, GREEN, GREY, ORANGE, dress
from lab.scoring.secret_score import SecretExposureScore


def secrets(found: SecretExposureScore) -> go.Figure:
    """Each secret, the mean of those typed equally often, and what luck alone would give."""
    figure, names = go.Figure(), [_often(group.copies) for group in found.groups]
    figure.add_hrect(
        y0=found.expected_low, y1=found.expected_high, fillcolor=GREY, opacity=0.25, line_width=0,
        annotation_text="by luck", annotation_position="top left",
    )  # fmt: skip
    figure.add_hline(
        y=found.bits,
        line={"color": GREY, "dash": "dot"},
        annotation_text="likeliest of all",
        annotation_position="bottom right",
    )
    each = [
        (name, bits)
        for name, group in zip(names, found.groups, strict=True)
        for bits in group.exposures
    ]
    figure.add_trace(
        go.Scatter(
            x=[name for name, _ in each], y=[bits for _, bits in each], name="a secret",
            mode="markers", marker={"color": BLUE, "opacity": 0.5, "size": 8},
        )
    )  # fmt: skip
    means = [group.mean for group in found.groups]
    band = {
        "array": [group.high - group.mean for group in found.groups],
        "arrayminus": [group.mean - group.low for group in found.groups],
    }
    marker = {"color": ORANGE, "symbol": "diamond", "size": 12}
    figure.add_trace(
        go.Scatter(x=names, y=means, name="mean, 95 %", error_y=band, mode="markers", marker=marker)
    )
    ceilings = [(name, group.ceiling) for name, group in zip(names, found.groups, strict=True)]
    bounded = [pair for pair in ceilings if pair[1] is not None]
    if bounded:
        line = {"color": GREEN, "dash": "dot", "width": 3}
        x, y = zip(*bounded, strict=True)
        figure.add_trace(
            go.Scatter(x=x, y=y, name="ceiling of the mean, by epsilon", mode="lines", line=line)
        )
    figure.update_xaxes(title_text="how often a secret was typed", type="category")
    figure.update_yaxes(title_text="exposure, bits", rangemode="tozero")
    return dress(figure, 380).update_layout(hovermode="closest")


def _often(copies: int) -> str:
    return {0: "never", 1: "once"}.get(copies, f"{copies} times")
