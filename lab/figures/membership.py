"""Membership: ROC curves down to what can be measured, scores, and who is exposed most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from math import log10

import numpy as np
import plotly.graph_objects as go

from lab.figures.style import BLUE, CLASSES, GREEN, GREY, ORANGE, dress
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.membership.leakage_by_group import GroupLeakage
from lab.scoring.membership.membership_score import MembershipScore
from lab.scoring.membership.rates import NEEDED

TINY = 1e-9  # stands for 0 on a logarithmic axis
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")


def roc(exposure: MembershipScore, ceiling: AttackCeiling | None = None) -> go.Figure:
    """The ROC on logarithmic axes with its band, the diagonal of chance, and privacy's ceiling."""
    x, places = _measured(exposure)
    low = [max(exposure.curve.low[k], TINY) for k in places]
    high = [max(exposure.curve.high[k], TINY) for k in places]
    figure = go.Figure()
    figure.add_trace(
        go.Scatter(
            x=[*x, *reversed(x)], y=[*high, *reversed(low)], fill="toself", name="95 % band",
            mode="lines", line={"width": 0}, fillcolor="rgba(0,114,178,0.2)", hoverinfo="skip",
        )
    )  # fmt: skip
    found = [max(exposure.curve.true_positives[k], TINY) for k in places]
    figure.add_trace(go.Scatter(x=x, y=found, name="attack", line={"color": BLUE, "width": 3}))
    _chance(figure, x)
    if ceiling:
        name = f"ceiling of epsilon {ceiling.epsilon:.3g}"
        best = ceiling.true_positives(np.array(x)).tolist()
        line = {"color": GREEN, "dash": "dot", "width": 3}
        figure.add_trace(go.Scatter(x=x, y=best, name=name, mode="lines", line=line))
    return _logarithmic(figure, exposure.others)


def rocs(
    exposures: Mapping[str, MembershipScore], ceiling: AttackCeiling | None = None
) -> go.Figure:
    """Several attacks on one pair of axes, without their bands."""
    figure = go.Figure()
    for place, (name, exposure) in enumerate(exposures.items()):
        x, places = _measured(exposure)
        found = [max(exposure.curve.true_positives[k], TINY) for k in places]
        line = {
            "color": CLASSES[place % len(CLASSES)],
            "dash": DASHES[place % len(DASHES)],
            "width": 3,
        }
        figure.add_trace(go.Scatter(x=x, y=found, name=name, mode="lines", line=line))
    most = max(exposure.others for exposure in exposures.values())
    x = np.geomspace(1 / most, 1, 81).tolist()
    _chance(figure, x)
    if ceiling:
        best = ceiling.true_positives(np.array(x)).tolist()
        line = {"color": GREEN, "width": 1}
        figure.add_trace(go.Scatter(x=x, y=best, name="ceiling", mode="lines", line=line))
    return _logarithmic(figure, most)


def _measured(exposure: MembershipScore) -> tuple[list[float], list[int]]:
    """False-positive rates down to a single one of the others, and their places in the curve."""
    rates = exposure.curve.false_positives
    places = [k for k, rate in enumerate(rates) if rate >= 1 / exposure.others]
    return [rates[k] for k in places], places


def _chance(figure: go.Figure, x: Sequence[float]) -> None:
    figure.add_trace(
        go.Scatter(x=x, y=x, name="chance", mode="lines", line={"color": GREY, "dash": "dash"})
    )


def _logarithmic(figure: go.Figure, others: int) -> go.Figure:
    """Shaded where fewer false positives are left than a rate can rest on."""
    least = 1 / others
    if least < min(1, NEEDED * least):
        figure.add_vrect(
            x0=least, x1=min(1, NEEDED * least), fillcolor=GREY, opacity=0.15, line_width=0,
            layer="below", annotation_text=f"below {NEEDED} false positives",
            annotation_position="bottom left", annotation_textangle=-90,
        )  # fmt: skip
    rates = {"type": "log", "range": [log10(least), 0], "tickformat": "~g", "dtick": 1}
    figure.update_xaxes(title_text="false-positive rate", **rates)
    figure.update_yaxes(title_text="true-positive rate", **rates)
    return dress(figure, 460)


def histogram(exposure: MembershipScore) -> go.Figure:
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


def groups(found: Sequence[GroupLeakage], names: Sequence[str], kind: str) -> go.Figure:
    """The AUC of each group with its interval; a diamond stands surely apart from the rest."""
    told = [(name, each) for name, each in zip(names, found, strict=True) if each.auc is not None]
    figure = go.Figure()
    for word, symbol, apart in (("like the rest", "circle", False), ("apart", "diamond", True)):
        mine = [(name, each) for name, each in told if each.apart == apart]
        areas = [each.auc or 0.0 for _, each in mine]
        bars = {
            "array": [
                (each.high or 0.0) - area for (_, each), area in zip(mine, areas, strict=True)
            ],
            "arrayminus": [
                area - (each.low or 0.0) for (_, each), area in zip(mine, areas, strict=True)
            ],
        }
        figure.add_trace(
            go.Scatter(
                x=[name for name, _ in mine], y=areas, name=word, mode="markers", error_y=bars,
                marker={"symbol": symbol, "size": 10, "color": ORANGE if apart else BLUE},
                customdata=[each.members for _, each in mine],
                hovertemplate="AUC %{y:.3f}, %{customdata} members",
            )
        )  # fmt: skip
    order = [name for name, _ in told]
    figure.update_xaxes(
        title_text=kind, type="category", categoryorder="array", categoryarray=order
    )
    figure.update_yaxes(title_text="AUC given the label")
    figure.add_hline(y=0.5, line={"color": GREY, "dash": "dash"}, annotation_text="chance")
    return dress(figure, 300)
