"""Toys drawn: updates as points in the plane, before and after a part; and who sits where."""

from __future__ import annotations

import plotly.graph_objects as go
from torch import Tensor

from lab.figures.style import BLUE, GREEN, GREY, ORANGE, RED, dress
from lab.figures.toy_updates import ToyUpdates

HEIGHT = 360
ROOM = 4.0  # of the honest updates' span; what lies beyond is drawn at the rim
SEATS = {"client": 0.0, "server": 1.0, "outsider": 2.0}


def toy(drawn: ToyUpdates) -> go.Figure:
    """Honest updates are dots and malicious ones crosses; arrows lead from before to after."""
    figure = go.Figure()
    honest, liars = drawn.before[~drawn.malicious], drawn.before[drawn.malicious]
    moved = drawn.after is not None
    figure.add_trace(_points(honest, "honest updates", BLUE, "circle", pale=moved))
    if drawn.answer is not None or len(liars):
        name = "malicious updates" if drawn.answer is not None else "malicious clients, trained"
        figure.add_trace(_points(liars, name, RED, "x", pale=moved))
    if drawn.after is not None:
        same = len(drawn.after) == len(drawn.before)
        for start, end in zip(drawn.before, drawn.after, strict=True) if same else ():
            _arrow(figure, start, end)
        figure.add_trace(_points(drawn.after, "what is passed on", ORANGE, "diamond"))
    if drawn.right is not None:
        figure.add_trace(_points(drawn.right[None], "mean of honest ones", GREY, "cross-open"))
    if drawn.answer is not None:
        figure.add_trace(_points(drawn.answer[None], "the rule's answer", GREEN, "star", size=18))
    low, high = _window(drawn)
    dress(figure, HEIGHT)
    figure.update_layout(hovermode="closest")
    figure.update_xaxes(range=[low, high], zeroline=True, title="one coordinate of an update")
    return figure.update_yaxes(range=[low, high], zeroline=True, title="another")


def seats(seat: str) -> go.Figure:
    """Who is in a federation, and where the attacker sits, if there is one."""
    figure, names = go.Figure(), {"client": "client", "server": "server", "outsider": "anybody"}
    for name, x in SEATS.items():
        heights = (0.0, 0.5, 1.0) if name == "client" else (0.5,)
        mine = name == seat
        figure.add_trace(
            go.Scatter(
                x=[x] * len(heights),
                y=list(heights),
                mode="markers+text",
                marker={
                    "size": 34 if mine else 26,
                    "symbol": "diamond" if mine else "circle",
                    "color": RED if mine else BLUE,
                },
                text=[f"{names[name]}: the attacker" if mine else names[name]] * len(heights),
                textposition="bottom center",
                hoverinfo="skip",
                showlegend=False,
            )
        )
    for height in (0.0, 0.5, 1.0):
        _flow(figure, 0.0, height, 1.0, 0.5)
    _flow(figure, 1.0, 0.5, 2.0, 0.5)
    for x, words in ((0.5, "updates"), (1.5, "the model")):
        figure.add_annotation(x=x, y=1.22, text=words, showarrow=False)
    dress(figure, 240)
    figure.update_layout(margin={"l": 8, "r": 8, "t": 8, "b": 8}, hovermode=False)
    figure.update_xaxes(visible=False, range=[-0.4, 2.5], fixedrange=True)
    return figure.update_yaxes(visible=False, range=[-0.35, 1.35], fixedrange=True)


def _points(
    rows: Tensor, name: str, colour: str, symbol: str, pale: bool = False, size: int = 11
) -> go.Scatter:
    return go.Scatter(
        x=rows[:, 0].tolist(),
        y=rows[:, 1].tolist(),
        mode="markers",
        name=name,
        marker={"color": colour, "symbol": symbol, "size": size, "opacity": 0.45 if pale else 1.0},
        hovertemplate=f"{name}: %{{x:.2f}}, %{{y:.2f}}<extra></extra>",
    )


def _arrow(figure: go.Figure, start: Tensor, end: Tensor) -> None:
    if (end - start).abs().max() < 0.02:
        return
    figure.add_annotation(
        x=float(end[0]), y=float(end[1]), ax=float(start[0]), ay=float(start[1]),
        xref="x", yref="y", axref="x", ayref="y", text="",
        showarrow=True, arrowhead=2, arrowwidth=1, arrowcolor=GREY,
    )  # fmt: skip


def _flow(figure: go.Figure, x: float, y: float, to: float, end: float) -> None:
    figure.add_annotation(
        x=to - 0.12, y=end, ax=x + 0.12, ay=y, xref="x", yref="y", axref="x", ayref="y", text="",
        showarrow=True, arrowhead=2, arrowwidth=1.5, arrowcolor=GREY,
    )  # fmt: skip


def _window(drawn: ToyUpdates) -> tuple[float, float]:
    """From the least to the greatest coordinate, but never so far that the honest ones shrink."""
    span = float(drawn.before.abs().max())
    there = [drawn.before] if drawn.after is None else [drawn.before, drawn.after]
    far = min(max(float(rows.abs().max()) for rows in there), ROOM * span)
    return -1.15 * far, 1.15 * far
