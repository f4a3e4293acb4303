"""How a run goes: accuracy, loss and epsilon round by round, and the bytes it costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from types import MappingProxyType

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.attack_runs.reconstruction.quick_look import QuickLook
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import SettingsChange
from lab.experiment.setting_names import told as setting_told
from lab.figures.style import BLUE, GREEN, GREY, MARKED, ORANGE, RED, SKY, dress, mode

AGAINST = ("rounds", "megabytes", "seconds")  # what accuracy can be drawn against
TITLES = {"rounds": "round", "megabytes": "megabytes so far", "seconds": "simulated seconds so far"}


def curves(
    records: Sequence[RoundRecord],
    changes: Sequence[SettingsChange] = (),
    rounds: int = 1,
    against: str = "rounds",
    baselines: Mapping[str, Sequence[RoundRecord]] = MappingProxyType({}),
    read: Sequence[QuickLook] = (),
) -> go.Figure:
    """Accuracy, loss, epsilon spent and what was read, one above the other; changes dashed.

    against: one of AGAINST; megabytes are of both ways, seconds those of the simulated clock
    baselines: records by name, whose accuracy is drawn beside it
    """
    spent = any(record.epsilon is not None for record in records)
    x = _costs(records, against)
    titles = ["accuracy", "loss"] + ["epsilon spent"] * spent
    titles += [f"read, {one.unit}" for one in read[:1]]
    rows = len(titles)
    figure = make_subplots(rows, 1, shared_xaxes=True, vertical_spacing=0.06)
    lines = [
        (1, "accuracy", [r.accuracy for r in records], BLUE, "solid"),
        (2, "loss", [r.loss for r in records], ORANGE, "solid"),
    ]
    if any(record.backdoor is not None for record in records):
        lines.append((1, "backdoor success", [r.backdoor for r in records], RED, "dot"))
    if spent:
        lines.append((3, "epsilon", [r.epsilon for r in records], GREEN, "solid"))
    for row, name, y, colour, dash in lines:
        trace = go.Scatter(
            x=x, y=y, name=name, mode=mode(len(x)), line={"color": colour, "dash": dash}
        )
        figure.add_trace(trace, row, 1)
    places = {each.round: cost for each, cost in zip(records, x, strict=True)}
    for trace in _read(read, places):
        figure.add_trace(trace, rows, 1)
    for name, theirs in baselines.items():
        for trace in _baseline(name, theirs, x, against):
            figure.add_trace(trace, 1, 1)
    for row, title in enumerate(titles, start=1):
        figure.update_yaxes(title_text=title, rangemode="tozero", row=row, col=1)
    figure.update_yaxes(range=[0, 1], tickformat=".0%", row=1, col=1)
    if against == "rounds":
        figure.update_xaxes(range=[0.5, max(rounds, 2) + 0.5])
        _mark(figure, changes)
    figure.update_xaxes(title_text=TITLES[against], row=rows, col=1)
    return dress(figure, 190 * rows + 30 * len(baselines) + 30 * bool(read))


def _costs(records: Sequence[RoundRecord], against: str) -> list[float]:
    """What each round and all before it took."""
    if against == "rounds":
        return [record.round for record in records]
    if against == "megabytes":
        return list(accumulate((r.bytes_up + r.bytes_down) / 1e6 for r in records))
    return list(accumulate(record.duration or 0.0 for record in records))


def _read(read: Sequence[QuickLook], places: Mapping[int, float]) -> list[go.Scatter]:
    """What the server read, and what a guess would have; places: where each round is drawn."""
    shown = [one for one in read if one.round in places]
    where = [places[one.round] for one in shown]
    lines = {"read by the server": (RED, "solid"), "guess without the update": (GREY, "dot")}
    values = [[one.value for one in shown], [one.floor for one in shown]]
    return [
        go.Scatter(
            x=where, y=y, name=name, mode=mode(len(where)), line={"color": hue, "dash": dash}
        )
        for (name, (hue, dash)), y in zip(lines.items(), values, strict=True)
        if shown
    ]


def _baseline(
    name: str, records: Sequence[RoundRecord], x: Sequence[float], against: str
) -> list[go.Scatter]:
    """Nothing travels in a baseline, so that beside costs only its end can be drawn: a level."""
    if not records:
        return []
    if against != "rounds":
        records, x = [records[-1]] * 2, [x[0], x[-1]]
    else:
        x = [record.round for record in records]
    line = {"color": GREY, "dash": "dash" if name == "centralised" else "dot"}
    mean = "" if not records[-1].single else ", mean of the clients"
    drawn = [
        go.Scatter(x=x, y=[r.accuracy for r in records], name=name + mean, mode="lines", line=line)
    ]
    if records[-1].single:  # from the worst to the best single client
        ends = [sorted(rate for rate in r.single if rate is not None) for r in records]
        drawn.append(
            go.Scatter(
                x=[*x, *reversed(x)], y=[e[-1] for e in ends] + [e[0] for e in reversed(ends)],
                name=f"{name}, worst to best", fill="toself", mode="none", hoverinfo="skip",
                fillcolor="rgba(128, 128, 128, 0.2)",
            )
        )  # fmt: skip
    return drawn


def _mark(figure: go.Figure, changes: Sequence[SettingsChange]) -> None:
    for change in changes:
        figure.add_vline(x=change.round - 0.5, line={"color": GREY, "dash": "dash"})
        told = [
            "branch" if path == "nonce" else setting_told(path, value)
            for path, value in change.set.items()
        ]
        words = "<br>".join(told[:3])
        words += "<br>..." if len(change.set) > 3 else ""
        figure.add_annotation(
            x=change.round - 0.5, y=1, yref="paper", text=words, showarrow=False,
            xanchor="left", yanchor="top", font={"size": 11}, align="left",
        )  # fmt: skip


def traffic(records: Sequence[RoundRecord]) -> go.Figure:
    """Megabytes of each round, up and down."""
    x = [record.round for record in records]
    up, down = [r.bytes_up / 1e6 for r in records], [r.bytes_down / 1e6 for r in records]
    ways = {
        "up, from the clients": (up, BLUE, "", "solid"),
        "down, to the clients": (down, SKY, "/", "dash"),
    }
    figure = go.Figure()
    for name, (y, colour, hatch, dash) in ways.items():
        if len(x) <= MARKED:
            marker = {"color": colour, "pattern": {"shape": hatch}}
            figure.add_trace(go.Bar(x=x, y=y, name=name, marker=marker))
        else:  # bars would be thinner than a pixel
            line = {"color": colour, "dash": dash, "shape": "hvh"}
            figure.add_trace(go.Scatter(x=x, y=y, name=name, mode="lines", line=line))
    figure.update_layout(barmode="group")
    figure.update_xaxes(title_text="round")
    figure.update_yaxes(title_text="MB", rangemode="tozero")
    return dress(figure, 220)
