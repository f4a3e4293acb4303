"""The accountant's promise beside what an audit has found, and both as errors of a test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10

import numpy as np
import plotly.graph_objects as go

from lab.figures.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, dress
from lab.privacy.audit_bounds import FAMILY, GAUSSIAN, NOTHING, Premise
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.audit_score import AuditScore
from lab.scoring.membership.membership_score import Curve

BESIDE = {"f-dp": ("dash", "f-DP, Gaussian"), "steinke": ("dot", "no assumption")}
LEAST = 1e-3  # the smallest false-positive rate drawn
ROOM = 1.5  # of the axis of rounds, for the words at the end of lines
SHAPES = ("circle", "square", "cross", "x", "triangle-up", "star")


def promises(found: AuditScore, rounds: int) -> go.Figure:
    """Epsilon by round: claimed at most, proven at least; an estimate is a point, never a line.

    Of a mechanism known not to fit the main bound's premise, what it finds is called detected, and
    other bounds under that premise are not drawn.

    rounds: how many there will be
    """
    figure, x = go.Figure(), [each.round for each in found.readings]
    proven = [each.proven for each in found.readings]
    colour = RED if found.broken else BLUE
    name = "detected" if found.detects else "proven"
    figure.add_trace(
        go.Scatter(
            x=x, y=proven, name=name, mode="lines+markers", fill="tozeroy",
            line={"color": colour, "width": 3, "shape": "hv"}, marker={"symbol": "triangle-up"},
            fillcolor=_faint(colour),
        )
    )  # fmt: skip
    for name, (dash, _) in _beside(found).items():
        y = [each.beside.get(name) for each in found.readings]
        line = {"color": SKY, "dash": dash, "width": 2}
        figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines", line=line))
    guessed = [None if found.detects else each.point for each in found.readings]
    marker = {"color": ORANGE, "symbol": "diamond-open", "size": 7}
    figure.add_trace(go.Scatter(x=x, y=guessed, name="estimate", mode="markers", marker=marker))
    claimed = [each.claimed for each in found.readings]
    if claimed[-1] is not None:
        line = {"color": GREEN, "width": 3, "dash": "longdash"}
        figure.add_trace(go.Scatter(x=x, y=claimed, name="claimed", mode="lines", line=line))
    _label(figure, x[-1], _ends(found, colour))
    figure.update_xaxes(title_text="round", range=[0, ROOM * rounds])
    figure.update_yaxes(title_text="epsilon", rangemode="tozero")
    return dress(figure, 420).update_layout(showlegend=False)


def _ends(found: AuditScore, colour: str) -> list[tuple[float, str]]:
    """Where each line ends, and what is written there, after a sign in the line's colour."""
    last = found.last
    ends = [(last.proven, f"{_sign('▲', colour)} {_told(found)}")]
    for name, (_, words) in _beside(found).items():
        if name in last.beside:
            ends.append((last.beside[name], f"{_sign('╌', SKY)} {words}"))
    if last.point is not None and not found.detects:
        ends.append((last.point, f"{_sign('◇', ORANGE)} an estimate"))
    if last.claimed is not None:
        ends.append((last.claimed, f"{_sign('╍', GREEN)} claimed ≤ {last.claimed:.2f}"))
    return ends


def _beside(found: AuditScore) -> dict[str, tuple[str, str]]:
    return {name: BESIDE[name] for name in BESIDE if not (found.detects and name in FAMILY)}


def _told(found: AuditScore) -> str:
    """What the main line is, with its premise."""
    if found.detects:
        return f"looks like {found.last.proven:.2f}, no bound"
    words: dict[Premise | None, str] = {GAUSSIAN: ", Gaussian", NOTHING: ", no assumption"}
    return f"proven ≥ {found.last.proven:.2f}{words.get(found.premise, '')}"


def _sign(sign: str, colour: str) -> str:
    """The words themselves keep the colour of all text, which can be read in light and in dark."""
    return f'<span style="color:{colour}">{sign}</span>'


def _label(figure: go.Figure, x: float, ends: list[tuple[float, str]]) -> None:
    """Words at the end of lines, in order, and none over another."""
    highest = max(max(end[0] for end in ends), 1e-9)
    apart, last = 0.075 * highest, -np.inf
    for height, words in sorted(ends):
        last = max(height, last + apart)
        figure.add_annotation(x=x, y=last, text=words, showarrow=False, xanchor="left", xshift=6)


def _faint(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, 0.15)"


def reach(
    ceiling: AttackCeiling | None,
    reached: Sequence[tuple[float, float]],
    attacks: Mapping[str, Curve],
) -> go.Figure:
    """False against true positives: what is promised, what canaries reach, what attacks did.

    reached: false-positive rates at most, true-positive rates at least, if scores are independent
    attacks: measured curves by name
    """
    rates, figure = np.geomspace(LEAST, 1.0, 200), go.Figure()
    below = _hull(reached, rates)
    figure.add_trace(
        go.Scatter(
            x=rates.tolist(), y=below.tolist(), name="reached, independent scores", mode="lines",
            fill="tozeroy", line={"color": BLUE, "width": 2}, fillcolor=_faint(BLUE),
        )
    )  # fmt: skip
    pairs = [pair for pair in reached if pair[0] < 1 and pair[1] > 0]
    marker = {"color": BLUE, "symbol": "triangle-up", "size": 9}
    figure.add_trace(
        go.Scatter(
            x=[one for one, _ in pairs], y=[other for _, other in pairs], name="counted",
            mode="markers", marker=marker,
        )
    )  # fmt: skip
    dashed = {"color": GREY, "dash": "dash"}
    figure.add_trace(
        go.Scatter(x=rates.tolist(), y=rates.tolist(), name="chance", mode="lines", line=dashed)
    )
    for (name, curve), shape in zip(attacks.items(), SHAPES, strict=False):
        at = [k for k, rate in enumerate(curve.false_positives) if rate >= LEAST][::4]
        figure.add_trace(
            go.Scatter(
                x=[curve.false_positives[k] for k in at], y=[curve.true_positives[k] for k in at],
                name=name, mode="markers",
                marker={"color": ORANGE, "symbol": shape, "size": 6},
            )
        )  # fmt: skip
    if ceiling:
        line = {"color": GREEN, "width": 3, "dash": "longdash"}
        best = ceiling.true_positives(rates).tolist()
        name = f"ceiling of epsilon {ceiling.epsilon:.3g}"
        figure.add_trace(go.Scatter(x=rates.tolist(), y=best, name=name, mode="lines", line=line))
    figure.update_xaxes(
        title_text="false-positive rate", type="log", range=[log10(LEAST), 0], tickformat="~g",
        dtick=1,
    )  # fmt: skip
    figure.update_yaxes(title_text="true-positive rate", range=[0, 1.02])
    return dress(figure, 420)


def _hull(reached: Sequence[tuple[float, float]], rates: np.ndarray) -> np.ndarray:
    """What tests between the counted ones reach, too: one is chosen at random.  (rates,)"""
    corners = [(0.0, 0.0)]
    for pair in sorted({*reached, (1.0, 1.0)}):
        while len(corners) > 1 and _slope(corners[-2], corners[-1]) <= _slope(corners[-2], pair):
            corners.pop()
        if pair[0] > corners[-1][0] and pair[1] >= corners[-1][1]:
            corners.append(pair)
    x, y = zip(*corners, strict=True)
    found: np.ndarray = np.interp(rates, x, y)
    return found


def _slope(one: tuple[float, float], other: tuple[float, float]) -> float:
    return (other[1] - one[1]) / max(other[0] - one[0], 1e-12)
