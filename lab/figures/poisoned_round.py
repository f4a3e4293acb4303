"""The contest by round: who moved the model, what the rule did with whom, who was obeyed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lab.engine.evaluation.record import RoundRecord
from lab.figures.style import BLUE, GREY, RED, dress, mode

LANES = ("left out", "shortened", "kept")  # from below
KINDS = {  # a place, a word and a pattern or symbol, never a colour alone
    True: {"name": "malicious", "color": RED, "shape": "x", "symbol": "diamond"},
    False: {"name": "honest", "color": BLUE, "shape": "", "symbol": "circle"},
}
NAMED = 24  # clients; of more, no axis holds the numbers


class Client(NamedTuple):
    """One whose update arrived, and what is told of it."""

    number: int
    bad: bool
    weight: float
    share: float
    fate: str

    def words(self) -> str:
        told = [f"client {self.number}, {KINDS[self.bad]['name']}"]
        told.append(f"{self.share:.1%} of the step, weight {self.weight:.1%}")
        return "<br>".join([*told, self.fate] if self.fate else told)


def moved(record: RoundRecord) -> go.Figure:
    """Who moved the model: each client's share of the step, and its weight.

    Malicious clients come first, each kind from the most to the least.  Empty where the record does
    not know.
    """
    clients = _lined_up(record) if record.influence else []
    figure = make_subplots(2, 1, shared_xaxes=True, vertical_spacing=0.08)
    for bad, kind in KINDS.items():
        mine = [(x, one) for x, one in _places(clients) if one.bad == bad]
        for row in (1, 2):
            values = [one.share if row == 1 else one.weight for _, one in mine]
            figure.add_trace(_bars(mine, values, kind, legend=bool(mine) and row == 1), row, 1)
    if clients:
        figure.add_hline(y=1 / len(clients), line={"color": GREY, "dash": "dash"})
    dress(figure, 400)
    figure.update_layout(hovermode="closest", bargap=0.15 if len(clients) <= NAMED else 0)
    for row, title in ((1, "share of the step"), (2, "weight")):
        figure.update_yaxes(title_text=title, tickformat=".0%", nticks=5, row=row, col=1)
    return _name_clients(figure, clients, row=2)


def _bars(
    mine: Sequence[tuple[int, Client]], values: list[float], kind: dict[str, str], legend: bool
) -> go.Bar:
    return go.Bar(
        x=[x for x, _ in mine], y=values, name=kind["name"], legendgroup=kind["name"],
        hovertext=[one.words() for _, one in mine], hoverinfo="text", showlegend=legend,
        marker={
            "color": kind["color"], "line": {"width": 0},
            "pattern": {"shape": kind["shape"], "fillmode": "overlay", "fgcolor": "white"},
        },
    )  # fmt: skip


def judged(record: RoundRecord) -> go.Figure:
    """What became of each client's update, in the order of `moved`.

    Empty where the rule takes something of everybody.
    """
    clients, figure = _lined_up(record) if record.verdict else [], go.Figure()
    size = 11 if len(clients) <= NAMED else 7
    for bad, kind in KINDS.items():
        mine = [(x, one) for x, one in _places(clients) if one.bad == bad]
        figure.add_trace(
            go.Scatter(
                x=[x for x, _ in mine], y=[LANES.index(one.fate) for _, one in mine],
                mode="markers", name=kind["name"], hoverinfo="text",
                hovertext=[one.words() for _, one in mine],
                marker={"symbol": kind["symbol"], "size": size, "color": kind["color"]},
            )
        )  # fmt: skip
    dress(figure, 240)
    figure.update_layout(hovermode="closest", showlegend=True)
    figure.update_yaxes(
        title_text="verdict", tickvals=list(range(len(LANES))), ticktext=LANES,
        range=[-0.5, len(LANES) - 0.5], zeroline=False,
    )  # fmt: skip
    return _name_clients(figure, clients)


def obeyed(records: Sequence[RoundRecord], round: int) -> go.Figure:
    """How often the attacker gets the answer it wants, beside the accuracy on clean examples.

    round: the one that is looked at
    """
    lines = (
        ("clean accuracy", [record.accuracy for record in records], BLUE, "solid", "circle"),
        ("attacker obeyed", [record.backdoor for record in records], RED, "dot", "diamond"),
    )
    figure = go.Figure(
        [
            go.Scatter(
                x=[record.round for record in records], y=y, name=name, mode=mode(len(y)),
                line={"color": colour, "dash": dash}, marker={"symbol": symbol, "size": 7},
            )
            for name, y, colour, dash, symbol in lines
        ]
    )  # fmt: skip
    figure.add_vline(x=round, line={"color": GREY, "dash": "dash"})
    figure.update_xaxes(title_text="round")
    figure.update_yaxes(title_text="share of test examples", tickformat=".0%", range=[0, 1.02])
    return dress(figure, 300)


def _lined_up(record: RoundRecord) -> list[Client]:
    """Everybody whose update arrived: malicious clients first, and who moved most first."""
    asked = len(record.clients)
    columns = zip(
        record.clients,
        record.influence or (0.0,) * asked,
        record.share or (0.0,) * asked,
        record.verdict or ("",) * asked,
        strict=True,
    )
    found = [
        Client(client, client in record.malicious, weight, share, fate)
        for client, weight, share, fate in columns
        if client not in record.lost and (record.influence or record.verdict)
    ]
    return sorted(found, key=lambda one: (not one.bad, -one.share, one.number))


def _places(clients: Sequence[Client]) -> list[tuple[int, Client]]:
    """Side by side, with a gap between the kinds."""
    bad = sum(one.bad for one in clients)
    return [(x + (0 < bad <= x), one) for x, one in enumerate(clients)]


def names(clients: Sequence[tuple[float, int, bool]]) -> dict[str, list[Any]]:
    """What an axis says below clients, each with its place: their numbers, or of many their kinds.

    clients: place, number, whether it is malicious
    """
    if len(clients) <= NAMED:
        return {
            "tickvals": [place for place, _, _ in clients],
            "ticktext": [str(number) for _, number, _ in clients],
        }
    middles = {
        kind["name"]: [place for place, _, bad in clients if bad == whether]
        for whether, kind in KINDS.items()
    }
    there = {name: (them[0] + them[-1]) / 2 for name, them in middles.items() if them}
    return {"tickvals": list(there.values()), "ticktext": list(there)}


def _name_clients(figure: go.Figure, clients: Sequence[Client], row: int = 0) -> go.Figure:
    where = {"row": row, "col": 1} if row else {}
    mixed = any(one.bad for one in clients)
    figure.update_xaxes(
        **names([(x, one.number, one.bad) for x, one in _places(clients)]),
        title_text="clients: malicious, then honest" if mixed else "clients",
        **where,
    )
    return figure
