"""The geometry of a round: a map of the updates, their cosines, and who could have been found."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go

from lab.attack_runs.poisoning.poisoned_round import PoisonedRound
from lab.figures.poisoned_round import KINDS, names
from lab.figures.style import BLUE, GREEN, GREY, ORANGE, RED, dress
from lab.scoring.poisoning.detection import Detection

SIGNS = {"": "", "kept": "", "shortened": "-open-dot", "left out": "-x-open"}  # after the symbol
WRITTEN = 10  # clients; of more, a cell has no room for its number
# Lines that lie on each other stay visible: each is thinner than the one below.
LINES = ((BLUE, "solid", 9), (ORANGE, "solid", 6), (GREEN, "dash", 4), (RED, "dot", 2))


def landscape(shown: PoisonedRound) -> go.Figure:
    """The updates on the two axes along which they differ most, at equal scales.

    Diamonds are malicious; a cross within says left out, a dot shortened.
    """
    figure, fates = go.Figure(), shown.fates or ("",) * len(shown.clients)
    for bad, kind in KINDS.items():
        for fate, sign in SIGNS.items():
            flags = zip(shown.malicious, fates, strict=True)
            mine = [k for k, told in enumerate(flags) if told == (bad, fate)]
            if mine:
                name = f"{kind['name']}, {fate}" if fate else kind["name"]
                figure.add_trace(_those(shown, mine, name, kind["symbol"] + sign, kind["color"]))
    _mark(figure, "no change", shown.geometry.nothing, "cross-thin-open", GREY)
    if shown.geometry.step:
        _mark(figure, "the server's step", shown.geometry.step, "star", GREEN)
    dress(figure, 460).update_layout(hovermode="closest")
    one, other = (f"{part:.0%} of the variance" for part in shown.geometry.explained)
    figure.update_xaxes(title_text=f"first axis, {one}", zeroline=False, nticks=6)
    figure.update_yaxes(title_text=f"second axis, {other}", zeroline=False, nticks=6)
    figure.update_yaxes(scaleanchor="x")
    return figure


def _those(
    shown: PoisonedRound, places: Sequence[int], name: str, symbol: str, colour: str
) -> go.Scatter:
    x, y = shown.geometry.places[list(places)].T.tolist()
    rim = "white" if symbol in ("circle", "diamond") else colour
    marker = {"symbol": symbol, "size": 12, "color": colour, "line": {"width": 1.5, "color": rim}}
    return go.Scatter(
        x=x, y=y, mode="markers", name=name, marker=marker, hoverinfo="text",
        hovertext=[f"client {shown.clients[k]}: {name}" for k in places],
    )  # fmt: skip


def _mark(
    figure: go.Figure, name: str, place: tuple[float, float], symbol: str, colour: str
) -> None:
    figure.add_trace(
        go.Scatter(
            x=[place[0]], y=[place[1]], mode="markers", name=name, hoverinfo="name",
            marker={
                "symbol": symbol, "size": 17, "color": colour,
                "line": {"width": 3 if "open" in symbol else 1, "color": colour},
            },
        )
    )  # fmt: skip


def cosines(shown: PoisonedRound) -> go.Figure:
    """The cosine of every two updates; malicious clients come first, divided off by lines."""
    order = sorted(range(len(shown.clients)), key=lambda k: (not shown.malicious[k], k))
    values = shown.geometry.cosines[order][:, order].round(decimals=4).tolist()
    told = [f"{shown.clients[k]} {'malicious' if shown.malicious[k] else 'honest'}" for k in order]
    figure = go.Figure(
        go.Heatmap(
            z=values, zmin=-1, zmax=1, colorscale="RdBu",
            customdata=[[[one, other] for other in told] for one in told],
            hovertemplate="%{customdata[0]}, %{customdata[1]}: %{z:.2f}<extra></extra>",
            texttemplate="%{z:.1f}" if len(order) <= WRITTEN else None,
            colorbar={
                "title": {"text": "cosine", "side": "top"}, "orientation": "h", "thickness": 12,
                "y": 1.0, "yanchor": "bottom", "tickvals": [-1, -0.5, 0, 0.5, 1],
            },
        )
    )  # fmt: skip
    bad = sum(shown.malicious)
    if 0 < bad < len(order):
        line = {"color": "black", "width": 3}
        figure.add_hline(y=bad - 0.5, line=line)
        figure.add_vline(x=bad - 0.5, line=line)
    dress(figure, 470).update_layout(hovermode="closest")
    ticks = names([(x, shown.clients[k], shown.malicious[k]) for x, k in enumerate(order)])
    title = "client: malicious, then honest" if bad else "client: honest"
    looks = {"title_text": title, "tickfont": {"size": 10}, "showgrid": False, "zeroline": False}
    figure.update_xaxes(**ticks, **looks)
    figure.update_yaxes(**ticks, **looks, autorange="reversed")
    if len(order) > len(ticks["tickvals"]):  # words in place of numbers
        figure.update_yaxes(tickangle=-90)
    return figure


def detection(found: Sequence[Detection]) -> go.Figure:
    """The ROC of every score that could have told malicious clients from honest ones."""
    figure = go.Figure(
        go.Scatter(
            x=[0, 1], y=[0, 1], name="chance", mode="lines", line={"color": GREY, "dash": "dash"}
        )
    )
    for each, (colour, dash, width) in zip(found, LINES, strict=False):
        figure.add_trace(
            go.Scatter(
                x=[0.0, *each.false_positives], y=[0.0, *each.true_positives], name=each.name,
                mode="lines", line={"color": colour, "dash": dash, "width": width, "shape": "hv"},
                hovertemplate="%{y:.0%} of the malicious at %{x:.0%} of the honest",
            )
        )  # fmt: skip
    figure.update_xaxes(title_text="honest suspected", tickformat=".0%", range=[-0.02, 1.02])
    figure.update_yaxes(title_text="malicious found", tickformat=".0%", range=[0, 1.04])
    return dress(figure, 400)
