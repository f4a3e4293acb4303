"""Runs beside each other: accuracy, loss and epsilon of each, told apart by colour and dash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.attack_runs.reconstruction.quick_look import QuickLook
from lab.engine.evaluation.record import RoundRecord
from lab.figures.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, dress

COLOURS = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY, BLUE)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot", "solid", "dot")
VALUES = {"accuracy": "accuracy", "loss": "loss", "epsilon": "epsilon spent"}


def compared(
    runs: Mapping[str, Sequence[RoundRecord]],
    read: Mapping[str, Sequence[QuickLook]] = MappingProxyType({}),
) -> go.Figure:
    """By name, at most eight; below, what was read off updates of those that were watched."""
    private = any(record.epsilon is not None for records in runs.values() for record in records)
    shown = [name for name in VALUES if name != "epsilon" or private]
    units = list(dict.fromkeys(one.unit for found in read.values() for one in found))
    rows = len(shown) + len(units)
    figure = make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.06)
    for place, (name, records) in enumerate(runs.items()):
        line = {"color": COLOURS[place % 8], "dash": DASHES[place % 8]}
        for row, value in enumerate(shown, start=1):
            trace = go.Scatter(
                x=[record.round for record in records],
                y=[getattr(record, value) for record in records],
                name=name, line=line, mode="lines", legendgroup=name, showlegend=row == 1,
            )  # fmt: skip
            figure.add_trace(trace, row, 1)
        for row, unit in enumerate(units, start=len(shown) + 1):
            found = [one for one in read.get(name, ()) if one.unit == unit]
            trace = go.Scatter(
                x=[one.round for one in found], y=[one.value for one in found],
                name=name, line=line, mode="lines", legendgroup=name, showlegend=False,
            )  # fmt: skip
            figure.add_trace(trace, row, 1)
    for row, unit in enumerate(units, start=len(shown) + 1):
        figure.update_yaxes(title_text=f"read, {unit}", rangemode="tozero", row=row, col=1)
    for row, value in enumerate(shown, start=1):
        figure.update_yaxes(title_text=VALUES[value], rangemode="tozero", row=row, col=1)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", row=1, col=1)
    figure.update_xaxes(title_text="round", row=rows, col=1)
    dressed = dress(figure, 190 * rows + 26 * len(runs))
    return dressed.update_layout(legend_y=1.03)  # many names: clear of the axis
