"""Fairness: the clients in a row, from the one that the model serves worst to the best."""

from __future__ import annotations

import plotly.graph_objects as go

from lab.engine.evaluation.fairness import Rates
from lab.engine.evaluation.record import RoundRecord
from lab.figures.style import BLUE, GREEN, ORANGE, dress


def fairness(record: RoundRecord) -> go.Figure:
    """Accuracy of one round for each client; the worst tenth stands out.  Empty without clients.

    Where clients have models of their own besides the common one, a diamond says how good they are.
    """
    known = [(rate, client) for client, rate in enumerate(record.fairness) if rate is not None]
    known.sort()
    rates, clients = [rate for rate, _ in known], [client for _, client in known]
    tenth = max(1, len(known) // 10)
    colours, shapes = [ORANGE] * tenth + [BLUE] * len(known), ["/"] * tenth + [""] * len(known)
    bars = go.Bar(
        x=list(range(1, len(known) + 1)), y=rates, text=clients, textposition="none",
        marker={
            "color": colours[: len(known)], "pattern": {"shape": shapes[: len(known)]},
            "line": {"width": 0},
        },
        hovertemplate="client %{text}: %{y:.1%}<extra></extra>", showlegend=False,
    )  # fmt: skip
    figure = dress(go.Figure([bars]), 240)
    own = record.personal if record.personal != record.fairness else ()
    if own:
        bars.update(name="common model", showlegend=True)
        figure = dress(go.Figure([bars, _own(own, clients)]), 240)
    figure.update_layout(hovermode="closest", bargap=0.1 if len(known) < 60 else 0)
    figure.update_xaxes(title_text="clients, worst to best")
    figure.update_yaxes(title_text="accuracy", tickformat=".0%", range=[0, 1])
    return figure


def _own(rates: Rates, clients: list[int]) -> go.Scatter:
    """Of those who have one."""
    known = [(place, rates[client]) for place, client in enumerate(clients, start=1)]
    marker = {
        "symbol": "diamond",
        "size": 8,
        "color": GREEN,
        "line": {"width": 1, "color": "white"},
    }
    return go.Scatter(
        x=[place for place, rate in known if rate is not None],
        y=[rate for _, rate in known if rate is not None],
        mode="markers", name="own model", marker=marker,
        hovertemplate="own model: %{y:.1%}<extra></extra>",
    )  # fmt: skip
