"""The split as a map: which share of a client's examples has which label, and how many it holds."""

from __future__ import annotations

import numpy as np
import plotly.graph_objects as go

from lab.engine.data.summary import FederationSummary
from lab.figures.style import GREY, dress
from lab.figures.toy_updates import EACH


def split(summary: FederationSummary) -> go.Figure:
    """A column for each client, its labels below its size; who holds nothing has an empty column.

    The colours run from 0 to 1 for every split, so that maps of two splits can be compared.
    """
    sizes = [sum(row) for row in summary.counts]
    clients, labels = list(range(len(sizes))), list(zip(*summary.counts, strict=True))
    shares = [
        [count / size if size else None for count, size in zip(row, sizes, strict=True)]
        for row in labels
    ]
    figure = go.Figure(
        [
            go.Heatmap(
                x=clients, y=summary.classes, z=shares, text=labels, zmin=0, zmax=1,
                colorscale="Viridis", colorbar={"title": "share", "tickformat": ".0%"},
                hovertemplate="client %{x}: %{text} of %{y}, %{z:.0%}<extra></extra>",
            ),
            go.Bar(
                x=clients, y=sizes, yaxis="y2", marker={"color": GREY, "line": {"width": 0}},
                hovertemplate="client %{x}: %{y} examples<extra></extra>", showlegend=False,
            ),
        ]
    )  # fmt: skip
    dress(figure, 260 + 22 * len(summary.classes))
    return figure.update_layout(
        title={"text": f"Skew of labels {summary.skew:.2f}", "font": {"size": 14}},
        margin={"l": 84, "t": 48},
        bargap=0,
        hovermode="closest",
        xaxis={"title": "client", "dtick": 1 if len(clients) <= 24 else None},
        yaxis={"title": "label", "type": "category", "autorange": "reversed", "domain": [0, 0.7]},
        yaxis2={"title": "examples", "nticks": 4, "domain": [0.75, 1]},
    )


def dealt(counts: np.ndarray) -> go.Figure:
    """The same without names, on one scale for all splits.  counts (clients, classes)"""
    figure = go.Figure(
        go.Heatmap(
            z=counts.T,
            colorscale="Viridis",
            zmin=0,
            zmax=EACH,
            colorbar={"title": "examples"},
            hovertemplate="client %{x}: %{z} of class %{y}<extra></extra>",
        )
    )
    dress(figure, 340)
    return figure.update_layout(
        hovermode="closest",
        xaxis={"title": "client", "dtick": 1},
        yaxis={"title": "class", "dtick": 1, "autorange": "reversed"},
    )
