"""The federation as a picture: server, clients, what each holds, who took part in the round."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, cos, pi, sin, sqrt

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from scipy.spatial.distance import pdist

from lab.engine.data.summary import FederationSummary
from lab.engine.evaluation.record import RoundRecord
from lab.figures.style import BLUE, CLASSES, GREEN, GREY, ORANGE, RED, dress

DIAMOND = 1.45  # its half by the radius of the ring within; a circle needs the root of 2
MOST = 1000  # clients drawn; of more, those who take part and some of the others

Point = tuple[float, float]
Outline = tuple[NDArray[np.object_], NDArray[np.object_]]  # lists would be validated one by one


def federation(summary: FederationSummary, record: RoundRecord | None = None) -> go.Figure:
    """Server and clients: each client is a ring of its labels, its area the examples it holds.

    A line joins who took part; a dotted one ends in a cross where the update was lost.  A diamond
    is around malicious clients.  Rings never get too small to see; of more than `MOST` clients only
    so many are drawn.
    """
    everybody = len(summary.counts)
    names = _shown(everybody, record.clients if record else ())
    place_of = {client: place for place, client in enumerate(names)}
    summary = summary.model_copy(
        update={
            "counts": tuple(summary.counts[client] for client in names),
            "malicious": tuple(place_of[one] for one in summary.malicious if one in place_of),
        }
    )
    places, figure = _places(len(names)), go.Figure()
    asked, gone = (record.clients, record.lost) if record else ((), ())
    taking = [place_of[client] for client in asked if client in place_of]
    lost = [place_of[client] for client in gone if client in place_of]
    largest = max(1, *(sum(row) for row in summary.counts))
    size = _room(places)
    radii = [size * max(0.35, sqrt(sum(row) / largest)) for row in summary.counts]
    edges = [_towards_server(place, radius) for place, radius in zip(places, radii, strict=True)]
    _links(figure, [edges[k] for k in taking if k not in lost], "took part", "solid", GREEN)
    _links(figure, [edges[k] for k in lost], "update lost", "dot", ORANGE)
    for label, name in enumerate(summary.classes):
        outline = _wedges(summary.counts, places, radii, label)
        figure.add_trace(
            go.Scatter(
                x=outline[0], y=outline[1], name=name, fill="toself", mode="lines",
                line={"width": 0.5, "color": GREY}, hoverinfo="skip",
                fillcolor=CLASSES[label % len(CLASSES)],
            )
        )  # fmt: skip
    _marks(figure, summary, names, places, set(taking), set(lost))
    _malicious(figure, summary.malicious, places, radii)
    _lost(figure, lost, places, radii)
    _server(figure)
    if len(names) < everybody:
        figure.add_annotation(
            x=0, y=0, xref="paper", yref="paper", xanchor="left", showarrow=False,
            text=f"{len(names):,} of {everybody:,} clients drawn", font={"size": 12},
        )  # fmt: skip
    figure.update_xaxes(visible=False, range=[-1.48, 1.48])
    figure.update_yaxes(visible=False, range=[-1.48, 1.48], scaleanchor="x")
    dress(figure, 480)
    return figure.update_layout(
        hovermode="closest",
        margin={"l": 0, "r": 0, "t": 0, "b": 0},
        legend={"orientation": "h", "y": 0, "yanchor": "top", "x": 0, "font": {"size": 12}},
    )


def _shown(clients: int, taking: Sequence[int]) -> list[int]:
    """Who is drawn: those who take part first, and others at even distances."""
    if clients <= MOST:
        return list(range(clients))
    stride = ceil(clients / max(1, MOST - len(taking)))
    return sorted({*taking, *range(0, clients, stride)})[: max(MOST, len(taking))]


def _places(clients: int) -> list[Point]:
    """A ring around the server; for many, a sunflower, whose seeds keep equal distances."""
    if clients <= 24:
        turns = [(1.0, k / clients) for k in range(clients)]
    else:
        golden = (3 - sqrt(5)) / 2
        turns = [(sqrt(0.1 + 0.9 * (k + 0.5) / clients), k * golden) for k in range(clients)]
    return [(1.15 * r * sin(2 * pi * turn), 1.15 * r * cos(2 * pi * turn)) for r, turn in turns]


def _room(places: list[Point]) -> float:
    """The radius of a client's ring: a diamond around it touches no other ring."""
    return min(0.2, float(pdist(places).min()) / (1 + 1.02 * DIAMOND))


def _towards_server(place: Point, radius: float) -> Point:
    """Where the line from the server meets the client's ring."""
    share = 1 - radius / sqrt(place[0] ** 2 + place[1] ** 2)
    return place[0] * share, place[1] * share


def _links(figure: go.Figure, ends: list[Point], name: str, dash: str, colour: str) -> None:
    if not ends:
        return
    x = [coordinate for end in ends for coordinate in (0, end[0], None)]
    y = [coordinate for end in ends for coordinate in (0, end[1], None)]
    line = {"color": colour, "dash": dash, "width": 2}
    figure.add_trace(go.Scatter(x=x, y=y, mode="lines", name=name, line=line, hoverinfo="skip"))


def _wedges(
    counts: Sequence[Sequence[int]], places: list[Point], radii: list[float], label: int
) -> Outline:
    """The part of every client's ring that stands for one label."""
    x: list[float | None] = []
    y: list[float | None] = []
    fine = 60 if len(counts) <= 60 else 20  # steps around a whole ring
    for row, (across, up), radius in zip(counts, places, radii, strict=True):
        if not row[label]:
            continue
        start, share = sum(row[:label]) / sum(row), row[label] / sum(row)
        steps = ceil(fine * share)
        turns = [2 * pi * (start + share * k / steps) for k in range(steps + 1)]
        arc = [(radius, t) for t in turns] + [(0.5 * radius, t) for t in reversed(turns)]
        x += [round(across + r * sin(t), 4) for r, t in [*arc, arc[0]]] + [None]
        y += [round(up + r * cos(t), 4) for r, t in [*arc, arc[0]]] + [None]
    return np.array(x, dtype=object), np.array(y, dtype=object)


def _marks(
    figure: go.Figure,
    summary: FederationSummary,
    names: list[int],
    places: list[Point],
    taking: set[int],
    lost: set[int],
) -> None:
    """The clients' names, and what they are and did."""
    bad, told = set(summary.malicious), []
    for place, row in enumerate(summary.counts):
        labels = ", ".join(f"{n} {name}" for n, name in zip(row, summary.classes, strict=True) if n)
        doing = "update lost" if place in lost else "took part" if place in taking else "not asked"
        role = "malicious, " if place in bad else ""
        told.append(f"client {names[place]}: {role}{doing}<br>{sum(row)} examples: {labels}")
    few = len(places) <= 60
    figure.add_trace(
        go.Scatter(
            x=[x for x, _ in places], y=[y for _, y in places], hovertext=told, hoverinfo="text",
            mode="markers+text" if few else "markers", marker={"size": 12, "opacity": 0},
            text=[str(name) for name in names], textfont={"size": 11}, showlegend=False,
        )
    )  # fmt: skip


def _malicious(
    figure: go.Figure, clients: Sequence[int], places: list[Point], radii: list[float]
) -> None:
    """A diamond around the ring of each.  Its tips come close to the next ring and hide none."""
    if not clients:
        return
    x: list[float | None] = []
    y: list[float | None] = []
    for (across, up), reach in ((places[k], DIAMOND * radii[k]) for k in clients):
        x += [across, across + reach, across, across - reach, across, None]
        y += [up + reach, up, up - reach, up, up + reach, None]
    width = 3 if len(places) <= 60 else 2
    line = {"color": RED, "width": width}
    figure.add_trace(
        go.Scatter(
            x=x, y=y, mode="lines", name="malicious", line=line, hoverinfo="skip", showlegend=False,
        )
    )  # fmt: skip
    sign = {"symbol": "diamond-open", "color": RED, "size": 14, "line": {"width": 3}}
    figure.add_trace(  # a diamond in the legend, too
        go.Scatter(x=[None], y=[None], mode="markers", name="malicious", marker=sign)
    )


def _lost(
    figure: go.Figure, clients: Sequence[int], places: list[Point], radii: list[float]
) -> None:
    if clients:
        sizes = [140 * 0.8 * radii[k] for k in clients]
        line = {"width": 3, "color": ORANGE}
        figure.add_trace(
            go.Scatter(
                x=[places[k][0] for k in clients], y=[places[k][1] for k in clients],
                mode="markers", name="update lost", hoverinfo="skip", showlegend=False,
                marker={"symbol": "x-thin-open", "color": ORANGE, "line": line, "size": sizes},
            )
        )  # fmt: skip


def _server(figure: go.Figure) -> None:
    figure.add_trace(
        go.Scatter(
            x=[0], y=[0], mode="markers+text", text=["server"],
            textfont={"color": "white", "size": 13},
            marker={"symbol": "square", "size": 50, "color": BLUE}, hoverinfo="skip",
            showlegend=False,
        )
    )  # fmt: skip
