"""Figures of federations: every client in its place, and what it holds, is and did."""

from __future__ import annotations

from math import isfinite

import numpy as np
import plotly.graph_objects as go
import pytest

from lab import figures
from lab.engine.data.summary import FederationSummary
from tests.support.figure_inputs import Trace, drawn, federation_of, record, trace, traces

# --- where everything is ------------------------------------------------------------------------


def centres(figure: go.Figure) -> np.ndarray:
    """Where the clients are.  -> (clients, 2)"""
    (found,) = [one for one in drawn(figure)["data"] if one.get("hovertext")]
    return np.array([found["x"], found["y"]]).T


def polygons(line: Trace) -> list[np.ndarray]:
    """The closed outlines of a trace, which gaps divide.  -> each (points, 2)"""
    found: list[np.ndarray] = []
    points: list[tuple[float, float]] = []
    for x, y in zip(line["x"], line["y"], strict=True):
        if x is None:
            found.append(np.array(points))
            points = []
        else:
            points.append((x, y))
    assert not points
    return found


def area(outline: np.ndarray) -> float:
    x, y = outline.T
    return float(abs((x[:-1] * y[1:] - x[1:] * y[:-1]).sum()) / 2)


def extents(figure: go.Figure, portrait_: FederationSummary) -> np.ndarray:
    """How far each client's ring reaches from its centre.  -> (clients,)"""
    middle, reach = centres(figure), np.zeros(len(portrait_.counts))
    for label, name in enumerate(portrait_.classes):
        holders = [k for k, row in enumerate(portrait_.counts) if row[label]]
        for client, outline in zip(holders, polygons(trace(figure, name)), strict=True):
            far = np.linalg.norm(outline - middle[client], axis=1).max()
            reach[client] = max(reach[client], far)
    return reach


@pytest.mark.parametrize(
    "clients",
    [
        2,
        20,
        pytest.param(
            100,
        ),
        pytest.param(
            1000,
        ),
    ],
)
def test_no_clients_ring_touches_anothers(clients: int) -> None:
    shown = federation_of(clients)
    figure = figures.federation(shown)
    middle, reach = centres(figure), extents(figure, shown)
    apart = np.linalg.norm(middle[:, None] - middle[None], axis=2)  # (clients, clients)
    room = apart - reach[:, None] - reach[None]
    assert room[~np.eye(clients, dtype=bool)].min() > 0


@pytest.mark.parametrize("clients", [2, 20, 100, 1000])
def test_every_client_has_a_place_of_its_own_within_the_picture(clients: int) -> None:
    shown = federation_of(clients, bad=(0, clients - 1), classes=2)
    told = record(clients=tuple(range(clients)), lost=(clients - 1,))
    figure = figures.federation(shown, told)
    for line in drawn(figure)["data"]:
        assert all(value is None or isfinite(value) for value in [*line["x"], *line["y"]])
    middle, reach = centres(figure), extents(figure, shown)
    assert len(np.unique(middle.round(9), axis=0)) == clients
    bound = drawn(figure)["layout"]["xaxis"]["range"][1]
    assert (np.abs(middle).max(axis=1) + reach <= bound + 1e-9).all()
    assert (np.linalg.norm(middle, axis=1) > reach).all()  # the server is in the middle


# --- what a client holds ------------------------------------------------------------------------


def test_there_is_one_trace_for_each_class_and_it_holds_who_holds_the_class() -> None:
    shown = FederationSummary(
        classes=("cat", "dog", "owl"),
        counts=((3, 1, 0), (0, 4, 0), (2, 2, 0)),
        malicious=(),
        skew=0.0,
    )
    figure = figures.federation(shown)
    assert [len(polygons(trace(figure, name))) for name in shown.classes] == [2, 3, 0]
    colours = [trace(figure, name)["fillcolor"] for name in shown.classes]
    assert len(set(colours)) == 3


def test_a_wedge_is_as_large_as_its_share_of_the_client() -> None:
    """One half, three eighths, one eighth; the outlines are polygons, so nearly."""
    shown = FederationSummary(
        classes=("a", "b", "c"), counts=((4, 3, 1),) * 2, malicious=(), skew=0.0
    )
    figure = figures.federation(shown)
    areas = np.array([area(polygons(trace(figure, name))[0]) for name in shown.classes])
    assert areas / areas.sum() == pytest.approx([1 / 2, 3 / 8, 1 / 8], abs=0.01)


def test_a_ring_grows_in_area_with_the_examples() -> None:
    shown = FederationSummary(classes=("a",), counts=((100,), (25,), (49,)), malicious=(), skew=0.0)
    reach = extents(figures.federation(shown), shown)
    assert reach / reach.max() == pytest.approx([1.0, 0.5, 0.7], abs=1e-3)


def test_a_client_without_examples_has_a_place_and_no_ring() -> None:
    shown = FederationSummary(
        classes=("a", "b"), counts=((3, 1), (0, 0), (0, 2)), malicious=(1,), skew=0.0
    )
    figure = figures.federation(shown, record(clients=(0, 1, 2), lost=(1,)))
    assert len(centres(figure)) == 3
    assert [len(polygons(trace(figure, name))) for name in ("a", "b")] == [1, 2]


# --- what a client is and did -------------------------------------------------------------------


def test_lost_and_malicious_clients_are_told_by_sign_and_not_by_colour_alone() -> None:
    figure = figures.federation(federation_of(6, bad=(1, 4)), record(clients=(0, 1, 2), lost=(2,)))
    middle, signs = centres(figure), {}
    for name in ("malicious", "update lost"):
        (marks,) = [one for one in traces(figure, name) if one["mode"] == "markers"]
        signs[name] = marks["marker"]["symbol"]
    assert np.allclose(np.array([marks["x"], marks["y"]]).T, middle[[2]])
    assert len(set(signs.values())) == 2
    (lost,) = [one for one in traces(figure, "update lost") if one["mode"] == "lines"]
    assert lost["line"]["dash"] != trace(figure, "took part")["line"]["dash"]


@pytest.mark.parametrize("clients", [2, 4, 20, 24, 25, 100, 1000])
def test_a_diamond_is_outside_of_the_ring_of_the_malicious_and_of_every_other(clients: int) -> None:
    bad = tuple(range(0, clients, 3))
    shown = FederationSummary(classes=("a",), counts=((7,),) * clients, malicious=bad, skew=0.0)
    figure = figures.federation(shown)
    middle, reach = centres(figure), extents(figure, shown)
    (line,) = [one for one in traces(figure, "malicious") if one["mode"] == "lines"]
    layout = drawn(figure)["layout"]
    for client, corners in zip(bad, polygons(line), strict=True):
        corners = np.array(corners)
        assert corners[:4].mean(axis=0) == pytest.approx(middle[client])
        sides = (corners[:4] + corners[1:5]) / 2  # nearest to the middle
        assert np.linalg.norm(sides - middle[client], axis=1).min() > reach[client]
        away = np.linalg.norm(corners[:, None] - middle[None], axis=2)
        assert (np.delete(away, client, axis=1) > np.delete(reach, client)).all()
        for axis, across in (("xaxis", corners[:, 0]), ("yaxis", corners[:, 1])):
            low, high = layout[axis]["range"]
            assert low < across.min() < across.max() < high


def test_words_tell_what_every_client_is_and_did() -> None:
    shown = FederationSummary(
        classes=("cat", "dog"), counts=((3, 1), (0, 4), (2, 0)), malicious=(1,), skew=0.0
    )
    figure = figures.federation(shown, record(clients=(0, 1), lost=(1,)))
    (marks,) = [one for one in drawn(figure)["data"] if one.get("hovertext")]
    assert marks["hovertext"] == [
        "client 0: took part<br>4 examples: 3 cat, 1 dog",
        "client 1: malicious, update lost<br>4 examples: 4 dog",
        "client 2: not asked<br>2 examples: 2 cat",
    ]


def test_a_line_joins_the_server_to_the_ring_of_whoever_took_part() -> None:
    shown = federation_of(5)
    figure = figures.federation(shown, record(clients=(0, 2, 3), lost=(3,)))
    line = trace(figure, "took part")
    ends = np.array([line["x"][1::3], line["y"][1::3]]).T
    middle, reach = centres(figure)[[0, 2]], extents(figure, shown)[[0, 2]]
    assert np.linalg.norm(ends - middle, axis=1) == pytest.approx(reach, abs=1e-3)
    assert line["x"][::3] == line["y"][::3] == [0, 0]
    assert line["x"][2::3] == [None, None]


def test_before_the_first_round_nobody_has_taken_part() -> None:
    figure = figures.federation(federation_of(4))
    assert not traces(figure, "took part")
    assert not traces(figure, "update lost")


def test_of_very_many_clients_those_who_take_part_are_drawn() -> None:
    shown = federation_of(5000, bad=(7, 4999))
    told = record(clients=(7, 1234, 4999), lost=(1234,))
    figure = figures.federation(shown, told)
    assert len(centres(figure)) <= 1000
    said = [words for each in drawn(figure)["data"] for words in each.get("hovertext", [])]
    assert any(words.startswith("client 7: malicious, took part") for words in said)
    assert any(words.startswith("client 1234: update lost") for words in said)
    assert any(words.startswith("client 4999: malicious, took part") for words in said)
    assert "of 5,000 clients drawn" in drawn(figure)["layout"]["annotations"][0]["text"]
