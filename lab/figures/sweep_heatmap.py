"""The heat map of a sweep: a value in every place, and the worst of each row set apart."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from textwrap import wrap
from typing import Any

import plotly.graph_objects as go

from lab.figures.style import dress
from lab.sweeps.result_table import ResultTable, TableCell
from lab.sweeps.variant import Variant

APART = 1.25  # columns from the last one to the worst
LINE = 14  # letters of a label
SHORT = {"": "", "refused": "n/a", "failed": "err", "waiting": "…"}  # fits into a narrow column
PALE = [[0, "#e4e4e4"], [1, "#e4e4e4"]]  # of places without a value


def heat(tally: ResultTable) -> go.Figure:
    """Values in percent; bright is good for the server, whatever was measured.

    A place without a value has a word, and says why when it is pointed at.
    """
    rows, columns = tally.sweep.rows, tally.sweep.columns
    at = [*range(len(columns)), len(columns) - 1 + APART]
    table = [[*line, worst] for line, worst in zip(tally.entries, tally.worst, strict=True)]
    parts = ((slice(0, -1), "places"), (slice(-1, None), "worst of each row"))
    scale = "Cividis" if tally.sweep.measure == "accuracy" else "Cividis_r"
    figure = go.Figure()
    for part, name in parts:
        here, x = [line[part] for line in table], at[part]
        figure.add_trace(
            go.Heatmap(
                x=x, z=_each(here, lambda entry: entry.value), colorscale=scale, name=name,
                text=_each(here, _number), texttemplate="%{text}", textfont={"size": 15},
                **_shared(here),
            )
        )  # fmt: skip
        figure.add_trace(
            go.Heatmap(
                x=x, z=_each(here, lambda entry: 0 if entry.word else None), colorscale=PALE,
                text=_each(here, lambda entry: SHORT[entry.word]), texttemplate="%{text}",
                textfont={"size": 12, "color": "#444444"}, name=f"{name} without a value",
                **_shared(here),
            )
        )  # fmt: skip
    dress(figure, 150 + 44 * len(rows))
    measure = {"accuracy": "accuracy, %", "backdoor": "success of the backdoor, %"}
    return figure.update_layout(
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        hovermode="closest",
        xaxis={
            "tickvals": at, "ticktext": [*_labels(columns), "<b>worst</b>"],
            "title": measure[tally.sweep.measure], "automargin": True,
            "autotickangles": [0, -90], "showgrid": False, "zeroline": False,
        },
        yaxis={
            "tickvals": list(range(len(rows))), "ticktext": _labels(rows),
            "autorange": "reversed", "automargin": True, "showgrid": False, "zeroline": False,
        },
    )  # fmt: skip


def _shared(here: Sequence[Sequence[TableCell]]) -> dict[str, Any]:
    return {
        "zmin": 0, "zmax": 1, "showscale": False, "xgap": 2, "ygap": 2, "hoverongaps": False,
        "hovertext": _each(here, _hover), "hovertemplate": "%{hovertext}<extra></extra>",
    }  # fmt: skip


def _each(here: Sequence[Sequence[TableCell]], of: Callable[[TableCell], Any]) -> list[list[Any]]:
    return [[of(entry) for entry in line] for line in here]


def _labels(variants: Sequence[Variant]) -> list[str]:
    """Over several lines, and never taken for markup."""
    lines = ([escape(line, quote=False) for line in wrap(one.label, LINE)] for one in variants)
    return ["<br>".join(each) for each in lines]


def _number(entry: TableCell) -> str:
    """In percent, without the sign: on a telephone every letter counts."""
    return "" if entry.value is None else f"{100 * entry.value:.0f}"


def _hover(entry: TableCell) -> str:
    inner = " against ".join(label for label in (entry.best, entry.worst) if label)
    seeds = ", ".join(f"seed {seed}: {value:.1%}" for seed, value in entry.seeds.items())
    told = (f"{entry.row} / {entry.column}", inner, entry.told(), seeds, entry.reason)
    return "<br>".join(escape(line, quote=False) for line in told if line)
