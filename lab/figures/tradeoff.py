"""Trade-offs: accuracy against what leaks, a point for each combination of settings."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import plotly.graph_objects as go

from lab.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, dress
from lab.sweeps.tradeoff import MEASURES, Mark, Point, Spread, front, measured

COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY)
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "x")


def frontier(
    points: Sequence[Point], measure: str, by: str, chosen: int | None = None
) -> go.Figure:
    """Upper left is best.  Whiskers reach from the lowest to the highest seed.

    by: one of a study's axes; each of its values has a colour and a shape of its own.  Combinations
    on the front carry their numbers; every marker's `customdata` is its number.  chosen: the number
    of the one that has a ring
    """
    there, best, figure = measured(points, measure), front(points, measure), go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[mark.bad.mean for mark in best], y=[mark.good.mean for mark in best], name="front",
            mode="lines", line={"color": GREY, "shape": "hv"}, hoverinfo="skip",
        )
    )  # fmt: skip
    words = dict.fromkeys(point.place.words()[by] for point in points)
    for place, word in enumerate(words):
        mine = [mark for mark in there if mark.point.place.words()[by] == word]
        marker = {"color": COLOURS[place % 7], "symbol": SYMBOLS[place % 7], "size": 12}
        if mine:
            figure.add_trace(_markers(mine, best, measure).update(name=word, marker=marker))
    if ringed := [mark for mark in there if mark.point.number == chosen]:
        figure.add_trace(_ring(ringed[0]))
    shown = MEASURES[measure]
    figure.add_vline(
        x=shown.floor, line={"color": GREY, "dash": "dash"}, annotation_text="a guess",
        annotation_position="top right",
    )  # fmt: skip
    figure.update_xaxes(title_text=f"{shown.title} (left is better)")
    if shown.shown(0.5).endswith("%"):
        figure.update_xaxes(tickformat=".0%")
    figure.update_yaxes(title_text="accuracy", tickformat=".0%")
    return dress(figure, 440).update_layout(hovermode="closest")


def _markers(mine: Sequence[Mark], best: Sequence[Mark], measure: str) -> go.Scatter:
    return go.Scatter(
        x=[mark.bad.mean for mark in mine],
        y=[mark.good.mean for mark in mine],
        error_x=_whiskers([mark.bad for mark in mine]),
        error_y=_whiskers([mark.good for mark in mine]),
        mode="markers+text",
        text=[_numbers(mark, best) for mark in mine],
        textposition="top left",
        customdata=[mark.point.number for mark in mine],
        hovertext=[_hover(mark, measure) for mark in mine],
        hovertemplate="%{hovertext}<extra></extra>",
    )


def _ring(mark: Mark) -> go.Scatter:
    return go.Scatter(
        x=[mark.bad.mean], y=[mark.good.mean], name="chosen", mode="markers", hoverinfo="skip",
        marker={"color": GREY, "symbol": "circle-open", "size": 24, "line": {"width": 3}},
    )  # fmt: skip


def _numbers(mark: Mark, best: Sequence[Mark]) -> str:
    """Of all on the front that lie there, beside the first of them."""
    alike = [other.point.number for other in best if other.pair == mark.pair]
    return ", ".join(map(str, alike)) if alike[:1] == [mark.point.number] else ""


def _whiskers(spreads: Sequence[Spread]) -> dict[str, object]:
    return {
        "type": "data", "symmetric": False, "thickness": 1, "width": 3,
        "array": [each.high - each.mean for each in spreads],
        "arrayminus": [each.mean - each.low for each in spreads],
    }  # fmt: skip


def _hover(mark: Mark, measure: str) -> str:
    """All settings, both numbers, and their ranges; what was measured, not what is drawn."""
    shown, bad, good = MEASURES[measure].shown, mark.point.leaks[measure], mark.good
    lines = (
        f"{mark.point.number}: {', '.join(mark.point.place.words().values())}",
        f"accuracy {good.mean:.1%} ({good.low:.1%} to {good.high:.1%})",
        f"{MEASURES[measure].title} {shown(bad.mean)} ({shown(bad.low)} to {shown(bad.high)})",
    )
    return "<br>".join(escape(line, quote=False) for line in lines)
