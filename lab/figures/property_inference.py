"""A property of the data: the share that the server said, against the true one."""

from __future__ import annotations

import plotly.graph_objects as go

from lab.figures.style import BLUE, GREY, ORANGE, dress
from lab.scoring.property_score import PropertyScore


def said(found: PropertyScore) -> go.Figure:
    """A point for each update; on the diagonal the server would be right."""
    scores, shares = [each.score for each in found.said], [each.share for each in found.said]
    high = max(1.0, *scores)
    figure = go.Figure(
        [
            go.Scatter(
                x=[0, 1], y=[0, 1], name="right", mode="lines",
                line={"color": GREY, "dash": "dot"}, hoverinfo="skip",
            ),
            go.Scatter(
                x=shares, y=scores, name="an update", mode="markers",
                marker={"color": BLUE, "size": 9},
                text=[f"client {each.clients[0]}, round {each.round}" for each in found.said],
                hovertemplate="%{text}: %{y:.2f} said, %{x:.2f} true<extra></extra>",
            ),
            go.Scatter(
                x=[0, 1], y=[found.public] * 2, name="a guess without the update", mode="lines",
                line={"color": ORANGE, "dash": "dash"}, hoverinfo="skip",
            ),
        ]
    )  # fmt: skip
    figure.update_xaxes(title_text=f"true share: {found.trait}", range=[-0.02, 1.02])
    figure.update_yaxes(title_text="share said", range=[-0.02, high + 0.02])
    return dress(figure, 380).update_layout(hovermode="closest")
