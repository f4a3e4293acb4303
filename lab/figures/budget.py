"""What a run spends of its privacy, and what an attacker can make of that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import plotly.graph_objects as go

from lab.figures.style import BLUE, GREEN, GREY, ORANGE, RED, SKY, dress
from lab.privacy.guarantee import AttackCeiling

LINES = (("PLD", GREEN, "solid"), ("RDP", ORANGE, "dot"), ("PRV", SKY, "dash"))
RATES = np.concatenate([[0.0], np.geomspace(1e-4, 1.0, 200)])  # of false positives


def spending(
    points: Sequence[int],
    epsilons: Mapping[str, Sequence[float | None]],
    now: int,
    target: float,
    at_least: Sequence[float | None] = (),
    changes: Sequence[int] = (),
) -> go.Figure:
    """Epsilon by round, as each accountant has it; what is not yet spent lies in the shade.

    points: rounds; epsilons: by accountant, at each point
    at_least: the lower end, where draws are not independent
    changes: first rounds of the segments but the first
    """
    figure = go.Figure()
    if any(bound is not None for bound in at_least):
        top = epsilons[LINES[0][0]]
        low = [high if low is None else low for low, high in zip(at_least, top, strict=True)]
        figure.add_trace(
            go.Scatter(
                x=[*points, *reversed(points)], y=[*top, *reversed(low)], fill="toself",
                mode="none", name="between the bounds", fillcolor="rgba(213, 94, 0, 0.25)",
                hoverinfo="skip",
            )
        )  # fmt: skip
    for name, colour, dash in LINES:
        line = {"color": colour, "dash": dash, "width": 3 if dash == "solid" else 2}
        figure.add_trace(
            go.Scatter(x=list(points), y=list(epsilons[name]), name=name, mode="lines", line=line)
        )
    figure.add_hline(
        y=target, line={"color": RED, "dash": "dash"}, annotation_text=f"target {target:g}"
    )
    if now < points[-1]:
        figure.add_vrect(
            x0=now, x1=points[-1], fillcolor=GREY, opacity=0.12, line_width=0,
            annotation_text="forecast", annotation_position="bottom left",
        )  # fmt: skip
    for change in changes:
        figure.add_vline(x=change - 0.5, line={"color": GREY, "dash": "dash"})
    figure.update_xaxes(title_text="round")
    figure.update_yaxes(title_text="epsilon", rangemode="tozero")
    return dress(figure, 380)


def trade_off(ceilings: Mapping[str, AttackCeiling]) -> go.Figure:
    """The best true-positive rate that any attack can have, at each false-positive rate."""
    figure = go.Figure()
    x = RATES.tolist()
    figure.add_trace(
        go.Scatter(x=x, y=x, name="chance", mode="lines", line={"color": GREY, "dash": "dash"})
    )
    for (name, ceiling), colour, dash in zip(
        ceilings.items(), (GREEN, BLUE), ("solid", "dot"), strict=False
    ):
        best = ceiling.true_positives(RATES).tolist()
        line = {"color": colour, "dash": dash, "width": 3}
        figure.add_trace(go.Scatter(x=x, y=best, name=name, mode="lines", line=line))
    for axis, words in ((figure.update_xaxes, "false"), (figure.update_yaxes, "true")):
        axis(title_text=f"{words}-positive rate", range=[0, 1], tickformat=".0%")
    return dress(figure, 380)
