"""Figures, pictures, reports and exports: what they show is what was recorded, and no more."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from math import isfinite, log10, nan
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from lab import Experiment, figures
from lab.assembly import assemble, malicious
from lab.experiment import Change
from lab.export import write_attack, write_run
from lab.jobs import attacked, pull
from lab.ledger import Ledger
from lab.pictures import SIDE, data_uri, png, side_by_side
from lab.portrait import Portrait, portrait
from lab.records import Record
from lab.report import render, write_report
from lab.roc import Ceiling, Exposure, expose
from lab.settings import SettingError
from lab.store import Job, Order, Store
from lab.trial import Result

Trace = dict[str, Any]


def record(round: int = 1, **measured: Any) -> Record:
    usual = {"accuracy": 0.5, "loss": 1.25, "epsilon": None, "bytes_up": 0, "bytes_down": 0}
    return Record.read(usual | {"round": round} | measured)


def drawn(figure: go.Figure) -> dict[str, Any]:
    """The figure as a browser gets it, every number in plain sight."""
    found: dict[str, Any] = json.loads(figure.to_json(engine="json"))
    return found


def traces(figure: go.Figure, name: str) -> list[Trace]:
    return [trace for trace in drawn(figure)["data"] if trace.get("name") == name]


def trace(figure: go.Figure, name: str) -> Trace:
    (found,) = traces(figure, name)
    return found


def federation_of(clients: int, bad: Sequence[int] = (), classes: int = 1) -> Portrait:
    return Portrait(
        classes=tuple(f"class {k}" for k in range(classes)),
        counts=((10,) * classes,) * clients,
        malicious=tuple(bad),
        skew=0.0,
    )


def exposure(members: int = 500, others: int = 1_500, seed: int = 0) -> Exposure:
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(1.0, size=members), generator.normal(size=others)])
    return expose(scores, np.arange(members + others) < members, None, None)


EXPOSURE = exposure()
RECORDS = (
    record(1, accuracy=0.1, loss=2.5, epsilon=0.5, bytes_up=3_000_000, bytes_down=1_500_000),
    record(2, accuracy=0.25, loss=None, epsilon=0.75, bytes_up=0, bytes_down=2_000_000),
    record(4, accuracy=0.875, loss=0.5, epsilon=1.0, backdoor=0.125, clients=(0, 2), lost=(2,)),
)
CHANGES = (
    Change(round=2, set={"privacy.kind": "client"}),
    Change(round=4, set={"rule.kind": "median", "network.dropout": 0.5}),
)
FIGURES: dict[str, tuple[Callable[..., go.Figure], tuple[Any, ...]]] = {
    "curves": (figures.curves, (RECORDS, CHANGES, 6)),
    "traffic": (figures.traffic, (RECORDS,)),
    "fairness": (figures.fairness, (RECORDS[0],)),
    "federation": (figures.federation, (federation_of(5, bad=(1, 2)), RECORDS[-1])),
    "split": (figures.split, (federation_of(5, classes=3),)),
    "roc": (figures.roc, (EXPOSURE, Ceiling(epsilon=2, delta=1e-3))),
    "histogram": (figures.histogram, (EXPOSURE,)),
    "approach": (figures.approach, ([10, 20], [12.0, 40.0], 11.5)),
}


# --- promises of every figure -------------------------------------------------------------------


def test_every_figure_keeps_the_promises() -> None:
    assert set(FIGURES) == set(figures.__all__)


@pytest.mark.parametrize("name", FIGURES)
def test_the_same_records_give_the_same_figure_and_stay_as_they_were(name: str) -> None:
    draw, given_ = FIGURES[name]
    before = repr(given_)
    once, again = draw(*given_).to_json(), draw(*given_).to_json()
    assert once == again
    assert repr(given_) == before


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_holds_no_number_that_json_cannot(name: str) -> None:
    draw, given_ = FIGURES[name]

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in the figure")

    json.loads(draw(*given_).to_json(engine="json"), parse_constant=refuse)


@pytest.mark.parametrize("name", [name for name in FIGURES if name != "federation"])
def test_axes_say_what_they_show(name: str) -> None:
    draw, given_ = FIGURES[name]
    layout = drawn(draw(*given_))["layout"]
    lowest = "xaxis3" if name == "curves" else "xaxis"  # of several, one above the other
    assert layout[lowest]["title"]["text"]
    upright = [axis for axis in layout if axis.startswith("yaxis")]
    assert all(layout[axis]["title"]["text"] for axis in upright)


# --- curves and traffic -------------------------------------------------------------------------


def test_curves_carry_the_numbers_of_the_records() -> None:
    figure = figures.curves(RECORDS)
    measured = {
        "accuracy": [0.1, 0.25, 0.875],
        "loss": [2.5, None, 0.5],
        "epsilon": [0.5, 0.75, 1.0],
        "backdoor success": [None, None, 0.125],
    }
    assert {line["name"]: line["y"] for line in drawn(figure)["data"]} == measured
    assert all(line["x"] == [1, 2, 4] for line in drawn(figure)["data"])


def test_without_privacy_or_a_backdoor_there_is_no_line_for_them() -> None:
    names = [line["name"] for line in drawn(figures.curves([record()]))["data"]]
    assert names == ["accuracy", "loss"]


def test_lines_in_one_plot_differ_by_more_than_colour() -> None:
    figure = figures.curves(RECORDS)
    assert trace(figure, "accuracy")["yaxis"] == trace(figure, "backdoor success")["yaxis"]
    dashes = {trace(figure, name)["line"]["dash"] for name in ("accuracy", "backdoor success")}
    assert len(dashes) == 2


@pytest.mark.parametrize("losses", [[None, None], [nan, nan], [1.0, nan]])
def test_a_loss_that_overflowed_leaves_a_gap(losses: list[float | None]) -> None:
    records = [
        record(k + 1).model_copy(update={"loss": loss})  # a record itself refuses nan
        for k, loss in enumerate(losses)
    ]
    found = trace(figures.curves(records), "loss")["y"]
    assert found == [loss if loss == 1.0 else None for loss in losses]


def test_a_run_that_has_not_begun_has_empty_curves() -> None:
    assert [line["y"] for line in drawn(figures.curves([]))["data"]] == [[], []]
    assert [bars["y"] for bars in drawn(figures.traffic([]))["data"]] == [[], []]


def test_every_change_is_a_dashed_line_with_words() -> None:
    layout = drawn(figures.curves(RECORDS, CHANGES, 6))["layout"]
    lines, words = layout["shapes"], layout["annotations"]
    assert {line["line"]["dash"] for line in lines} == {"dash"}
    # One in each of the three plots, half a round before the first under new settings.
    assert sorted(line["x0"] for line in lines) == [1.5, 1.5, 1.5, 3.5, 3.5, 3.5]
    assert all(line["x0"] == line["x1"] for line in lines)
    assert {line["xref"] for line in lines} == {"x", "x2", "x3"}
    assert [(told["x"], told["text"]) for told in words] == [
        (1.5, "privacy.kind = client"),
        (3.5, "rule.kind = median<br>network.dropout = 0.5"),
    ]


def test_curves_leave_room_for_the_rounds_to_come() -> None:
    layout = drawn(figures.curves(RECORDS, (), 40))["layout"]
    assert layout["xaxis"]["range"] == [0.5, 40.5]
    assert layout["yaxis"]["range"] == [0, 1]


def test_traffic_is_in_megabytes() -> None:
    figure = figures.traffic(RECORDS)
    assert trace(figure, "up, from the clients")["y"] == [3.0, 0.0, 0.0]
    assert trace(figure, "down, to the clients")["y"] == [1.5, 2.0, 0.0]
    shapes = [bars["marker"].get("pattern") for bars in drawn(figure)["data"]]
    assert shapes[0] != shapes[1]


# --- the federation -----------------------------------------------------------------------------


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


def extents(figure: go.Figure, portrait_: Portrait) -> np.ndarray:
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


def test_there_is_one_trace_for_each_class_and_it_holds_who_holds_the_class() -> None:
    shown = Portrait(
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
    shown = Portrait(classes=("a", "b", "c"), counts=((4, 3, 1),) * 2, malicious=(), skew=0.0)
    figure = figures.federation(shown)
    areas = np.array([area(polygons(trace(figure, name))[0]) for name in shown.classes])
    assert areas / areas.sum() == pytest.approx([1 / 2, 3 / 8, 1 / 8], abs=0.01)


def test_a_ring_grows_in_area_with_the_examples() -> None:
    shown = Portrait(classes=("a",), counts=((100,), (25,), (49,)), malicious=(), skew=0.0)
    reach = extents(figures.federation(shown), shown)
    assert reach / reach.max() == pytest.approx([1.0, 0.5, 0.7])


def test_a_client_without_examples_has_a_place_and_no_ring() -> None:
    shown = Portrait(classes=("a", "b"), counts=((3, 1), (0, 0), (0, 2)), malicious=(1,), skew=0.0)
    figure = figures.federation(shown, record(clients=(0, 1, 2), lost=(1,)))
    assert len(centres(figure)) == 3
    assert [len(polygons(trace(figure, name))) for name in ("a", "b")] == [1, 2]


def test_lost_and_malicious_clients_are_told_by_sign_and_not_by_colour_alone() -> None:
    figure = figures.federation(federation_of(6, bad=(1, 4)), record(clients=(0, 1, 2), lost=(2,)))
    middle, signs = centres(figure), {}
    for name, clients in (("malicious", [1, 4]), ("update lost", [2])):
        (marks,) = [one for one in traces(figure, name) if one["mode"] == "markers"]
        assert np.allclose(np.array([marks["x"], marks["y"]]).T, middle[clients])
        signs[name] = marks["marker"]["symbol"]
    assert len(set(signs.values())) == 2
    (lost,) = [one for one in traces(figure, "update lost") if one["mode"] == "lines"]
    assert lost["line"]["dash"] != trace(figure, "took part")["line"]["dash"]


def test_words_tell_what_every_client_is_and_did() -> None:
    shown = Portrait(
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
    assert np.linalg.norm(ends - middle, axis=1) == pytest.approx(reach)
    assert line["x"][::3] == line["y"][::3] == [0, 0]
    assert line["x"][2::3] == [None, None]


def test_before_the_first_round_nobody_has_taken_part() -> None:
    figure = figures.federation(federation_of(4))
    assert not traces(figure, "took part")
    assert not traces(figure, "update lost")


# --- membership and inversion -------------------------------------------------------------------


def test_the_roc_is_logarithmic_down_to_what_the_others_can_show() -> None:
    layout = drawn(figures.roc(EXPOSURE))["layout"]
    for axis in ("xaxis", "yaxis"):
        assert layout[axis]["type"] == "log"
        assert layout[axis]["range"] == pytest.approx([log10(1 / EXPOSURE.others), 0])


def test_the_roc_carries_the_numbers_of_the_exposure() -> None:
    found, ceiling = figures.roc(EXPOSURE, Ceiling(epsilon=2, delta=1e-3)), EXPOSURE.curve
    points = zip(ceiling.false_positives, ceiling.true_positives, strict=True)
    kept = [(x, y) for x, y in points if x >= 1 / EXPOSURE.others]
    attack = trace(found, "attack")
    assert list(zip(attack["x"], attack["y"], strict=True)) == kept
    chance = trace(found, "chance")
    assert chance["x"] == chance["y"] == attack["x"]
    best = Ceiling(epsilon=2, delta=1e-3).true_positives(np.array(attack["x"]))
    assert trace(found, "ceiling of epsilon 2")["y"] == best.tolist()
    band = trace(found, "95 % band")
    count = len(kept)
    assert band["x"] == attack["x"] + attack["x"][::-1]
    assert band["y"][:count] == list(ceiling.high[-count:])
    assert band["y"][count:] == list(ceiling.low[-count:])[::-1]


def test_the_lines_of_the_roc_differ_by_more_than_colour() -> None:
    figure = figures.roc(EXPOSURE, Ceiling(epsilon=2, delta=1e-3))
    names = ("attack", "chance", "ceiling of epsilon 2")
    assert len({trace(figure, name)["line"].get("dash", "solid") for name in names}) == 3


def test_a_roc_on_log_axes_has_no_zero() -> None:
    scores = np.r_[np.zeros(50), np.ones(400)]  # no member above any other
    found = figures.roc(expose(scores, np.arange(450) < 50, None, None))
    for name in ("attack", "95 % band"):
        assert min(trace(found, name)["y"]) > 0


def test_without_a_guarantee_no_ceiling_is_drawn() -> None:
    names = [one["name"] for one in drawn(figures.roc(EXPOSURE))["data"]]
    assert names == ["95 % band", "attack", "chance"]


def test_the_histogram_carries_the_shares() -> None:
    figure = figures.histogram(EXPOSURE)
    for name in ("members", "others"):
        bars = trace(figure, name)
        assert bars["y"] == list(EXPOSURE.histogram[name])
        edges = EXPOSURE.histogram["edges"]
        assert bars["x"] == [(low + high) / 2 for low, high in pairwise(edges)]
    patterns = [bars["marker"]["pattern"]["shape"] for bars in drawn(figure)["data"]]
    assert len(set(patterns)) == 2


def test_the_approach_is_drawn_above_its_floor() -> None:
    figure = figures.approach([10, 20, 30], [9.0, 12.5, 70.0], 11.25)
    line = trace(figure, "reconstruction")
    assert (line["x"], line["y"]) == ([10, 20, 30], [9.0, 12.5, 70.0])
    layout = drawn(figure)["layout"]
    assert [(one["y0"], one["line"]["dash"]) for one in layout["shapes"]] == [(11.25, "dash")]
    assert layout["annotations"][0]["text"] == "best guess without it"


# --- the portrait -------------------------------------------------------------------------------


def of_digits(**settings: Any) -> Experiment:
    usual = {"data.source": "digits", "data.clients": 6}
    return Experiment().changed(usual | {k.replace("__", "."): v for k, v in settings.items()})


def test_a_portrait_counts_what_every_client_holds() -> None:
    experiment = of_digits(data__split={"kind": "dirichlet", "alpha": 0.3}, adversary__count=2)
    found, federation = portrait(experiment), assemble(experiment)
    assert found.classes == tuple("0123456789")
    assert found.malicious == malicious(experiment)
    for client, row in enumerate(found.counts):
        mine = federation.labels[federation.held(client)].tolist()
        assert list(row) == [mine.count(label) for label in range(10)]
    assert np.sum(found.counts) == 1_438


def test_skew_is_how_far_clients_lie_from_the_whole_on_average() -> None:
    experiment = of_digits(data__split={"kind": "dirichlet", "alpha": 0.3})
    counts = np.array(portrait(experiment).counts)
    whole = counts.sum(axis=0) / counts.sum()
    distances = [np.maximum(row / row.sum() - whole, 0).sum() for row in counts]
    assert portrait(experiment).skew == pytest.approx(np.mean(distances), abs=1e-6)


def test_alike_clients_have_hardly_any_skew_and_one_class_each_nearly_all() -> None:
    alike = portrait(of_digits(data__clients=3)).skew
    apart = portrait(of_digits(data__clients=10, data__split={"kind": "shards", "shards": 1})).skew
    assert alike < 0.1
    assert 0.75 < apart < 0.91  # nine tenths of all labels are another class


# --- pictures -----------------------------------------------------------------------------------


def opened(content: bytes) -> Image.Image:
    with Image.open(BytesIO(content)) as image:
        assert image.format == "PNG"
        image.load()
        return image


@pytest.mark.parametrize(
    ("shape", "side", "size", "mode"),
    [
        ((1, 8, 8), SIDE, (112, 112), "L"),
        ((1, 28, 28), SIDE, (112, 112), "L"),
        ((3, 32, 32), SIDE, (128, 128), "RGB"),  # by whole pixels: 3.5 times becomes 4
        ((3, 5, 9), 10, (18, 10), "RGB"),
        ((1, 200, 100), SIDE, (100, 200), "L"),  # never smaller than it is
    ],
)
def test_a_png_has_the_right_size_and_colours(
    shape: tuple[int, ...], side: int, size: tuple[int, int], mode: str
) -> None:
    image = opened(png(torch.rand(shape, generator=torch.Generator().manual_seed(0)), side))
    assert (image.size, image.mode) == (size, mode)


@given(seed=st.integers(0, 10**6), colours=st.sampled_from([1, 3]), factor=st.integers(1, 4))
def test_a_png_is_the_picture_in_larger_pixels(seed: int, colours: int, factor: int) -> None:
    bytes_ = np.random.default_rng(seed).integers(0, 256, (colours, 6, 7), dtype=np.uint8)
    shown = np.asarray(opened(png(torch.from_numpy(bytes_).float() / 255, side=6 * factor)))
    expected = bytes_.repeat(factor, axis=1).repeat(factor, axis=2).transpose(1, 2, 0)
    assert np.array_equal(shown.reshape(expected.shape), expected)


def test_what_lies_outside_black_and_white_is_clamped() -> None:
    shown = np.asarray(opened(png(torch.tensor([[[-3.0, 0.0, 0.5, 1.0, 7.5]]]), side=1)))
    assert shown.tolist() == [[0, 0, 128, 255, 255]]


def test_a_picture_is_left_as_it_was() -> None:
    picture = torch.tensor([[[-1.0, 2.0]]])
    png(picture)
    assert picture.tolist() == [[[-1.0, 2.0]]]


def test_two_pictures_stand_side_by_side() -> None:
    left, right = torch.zeros(3, 4, 5), torch.full((3, 4, 5), 0.5)
    both = side_by_side(left, right)
    assert both.shape == (3, 4, 11)
    assert torch.equal(both[..., :5], left)
    assert torch.equal(both[..., 5], torch.ones(3, 4))
    assert torch.equal(both[..., 6:], right)


def test_a_data_uri_holds_the_png() -> None:
    picture = torch.linspace(0, 1, 64).view(1, 8, 8)
    start, _, content = data_uri(picture).partition(",")
    assert start == "data:image/png;base64"
    assert b64decode(content) == png(picture)


# --- reports and exports ------------------------------------------------------------------------


@dataclass(frozen=True)
class Done:
    """A store with finished runs and attacks on them."""

    store: Store
    run: Job
    inversion: Job  # of the run
    membership: Job  # of the run
    table: Job  # a run on a table
    rows: Job  # an inversion of the table


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """Made once: nothing below writes to the jobs in here."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('store') / 'leaklab.db'}")
    ledger = Ledger(store)
    smooth = of_digits(
        model__kind="lenet",
        training__rounds=2,
        training__steps=1,
        training__batch_size=1,
        data__split="dirichlet",
    )
    run = finished(ledger, smooth)
    hospitals = {
        "data": {"source": "heart", "clients": 4, "split": "natural"},
        "training": {"rounds": 1, "steps": 1, "batch_size": 1},
    }
    table = finished(ledger, Experiment.read(hospitals))
    return Done(
        store=store,
        run=run,
        inversion=attack(ledger, run, {"kind": "idlg", "iterations": 60}, client=0),
        membership=attack(ledger, run, {"kind": "loss-threshold"}),
        table=table,
        rows=attack(ledger, table, {"kind": "first-layer"}, client=2),
    )


def finished(ledger: Ledger, experiment: Experiment) -> Job:
    job = ledger.start(experiment)
    deque(pull(ledger, job), maxlen=0)
    return ledger.store.run(job.id)


def attack(ledger: Ledger, run: Job, spy: dict[str, Any], client: int | None = None) -> Job:
    order = {"spy": spy, "round": 1} | ({} if client is None else {"client": client})
    job = ledger.start_attack(run.id, Order.read(order))
    deque(attacked(ledger, job), maxlen=0)
    job = ledger.store.job(job.id)
    assert (job.status, job.message) == ("finished", "")
    return job


def pictures_of(store: Store, attack: Job) -> dict[str, Tensor]:
    """What the last glimpse of an attack showed."""
    return store.arrays.get(store.sights(attack.id)[-1].arrays)


@dataclass
class Page(HTMLParser):
    """An HTML page taken apart as a browser would."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: dict[str, list[str]] = field(default_factory=dict)  # by the tag around them

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):  # what has no end
            self.texts.setdefault(tag, []).append("")
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        for tag in set(self._open):
            self.texts[tag][-1] += data

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def parsed(html: str) -> Page:
    page = Page()
    page.feed(html)
    page.close()
    return page


@pytest.fixture(scope="module")
def page(done: Done) -> Page:
    return parsed(render(done.store, done.run.id))


def test_a_report_loads_nothing_from_anywhere(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            address = attributes.get(name)
            assert address is None or address.startswith("data:"), (tag, address)
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.tags}
    for style in page.texts["style"]:
        assert "url(" not in style
        assert "@import" not in style


def test_a_report_brings_plotly_once_and_draws_every_figure(page: Page) -> None:
    scripts = page.texts["script"]
    assert sum(len(script) > 1_000_000 for script in scripts) == 1
    drawings = sum("Plotly.newPlot(" in script for script in scripts if len(script) < 1_000_000)
    assert drawings == 4 + 2  # of the run, and of its membership attack


def test_a_report_holds_the_experiment_and_how_to_repeat_it(done: Done, page: Page) -> None:
    toml, command = page.texts["pre"]
    assert toml == done.run.experiment.to_toml()
    assert Experiment.from_toml(toml) == done.run.experiment
    assert command == done.run.experiment.command()
    assert page.texts["h1"] == [done.run.experiment.title()]


def test_a_report_tells_every_attack_in_full(done: Done, page: Page) -> None:
    told = page.texts["td"]
    for job in (done.inversion, done.membership):
        lines = Result.read(job.result).lines()
        assert len(lines) > 8
        assert [line for line in lines if line not in told] == []
    verdict = Result.read(done.inversion.result).likeness
    assert verdict is not None
    assert verdict.verdict in told


def test_a_report_shows_the_pictures_of_every_attack(done: Done, page: Page) -> None:
    expected = {}
    for job in (done.inversion, done.membership):
        for name, several in pictures_of(done.store, job).items():
            for place, picture in enumerate(several, start=1):
                expected[f"{name} {place}"] = png(picture)
    shown = {
        str(image["alt"]): b64decode(str(image["src"]).partition(",")[2])
        for image in page.of("img")
    }
    assert len(shown) == 2 + 16  # guess and private; eight of each kind of member
    assert shown == expected


def test_the_pictures_of_a_report_are_always_in_one_order(done: Done) -> None:
    orders = {tuple(pictures_of(done.store, done.inversion)) for _ in range(40)}
    assert len(orders) == 1


def test_a_report_says_what_privacy_guarantees_and_how_the_run_ended(page: Page) -> None:
    told = " ".join(page.texts["p"])
    assert "finished after 2 rounds" in told
    assert "No differential privacy" in told


def test_the_same_run_gives_the_same_report(done: Done, page: Page) -> None:
    again = parsed(render(done.store, done.run.id))
    for tag in ("h1", "h3", "td", "pre"):  # plotly draws new names for its figures
        assert again.texts[tag] == page.texts[tag]


def test_a_report_on_a_table_has_no_pictures(done: Done) -> None:
    page = parsed(render(done.store, done.table.id))
    assert page.of("img") == []
    assert [line for line in Result.read(done.rows.result).lines() if line in page.texts["td"]]


def test_a_hostile_message_is_shown_and_not_obeyed(store: Store) -> None:
    hostile = "<script>alert('x')</script><img src=http://example.com/x onerror=alert(1)>&amp;"
    ledger = Ledger(store)
    run = finished(ledger, of_digits(training__rounds=1, training__steps=1))
    store.resume(run.id)
    job = ledger.claim(run.id)
    assert job is not None
    ledger.settle(job, "stopped", hostile)
    html = render(store, run.id)
    page = parsed(html)
    assert hostile not in html
    assert any(hostile in text for text in page.texts["p"])
    assert page.of("img") == []


def test_a_run_without_a_round_has_nothing_to_report(store: Store) -> None:
    with pytest.raises(SettingError, match="no round yet"):
        render(store, store.create(of_digits()))
    with pytest.raises(SettingError, match="no run 'nobody'"):
        render(store, "nobody")


def test_a_report_shows_who_is_malicious_in_the_round_it_shows(store: Store) -> None:
    experiment = of_digits(training__rounds=2, training__steps=1)
    run = finished(Ledger(store), experiment.changed_from(2, {"adversary.count": 2}))
    assert '"name":"malicious"' in render(store, run.id)


def test_a_report_is_written_as_it_is_rendered(done: Done, tmp_path: Path) -> None:
    write_report(done.store, done.table.id, tmp_path / "report.html")
    written = parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert written.texts["pre"][0] == done.table.experiment.to_toml()
    with pytest.raises(SettingError, match="cannot be written"):
        write_report(done.store, done.table.id, tmp_path / "nowhere" / "report.html")


def test_an_exported_run_reads_back(done: Done, tmp_path: Path) -> None:
    write_run(done.store, done.run, tmp_path / "a" / "b")
    folder = tmp_path / "a" / "b"
    assert {path.name for path in folder.iterdir()} == {
        "experiment.toml",
        "records.jsonl",
        "model.safetensors",
    }
    assert Experiment.from_file(folder / "experiment.toml") == done.run.experiment
    lines = (folder / "records.jsonl").read_text(encoding="utf-8").splitlines()
    stored = done.store.rounds(done.run.id)
    assert [json.loads(line) for line in lines] == [each.line() for each in stored]
    records = [{k: v for k, v in json.loads(line).items() if k != "seconds"} for line in lines]
    assert [Record.read(one) for one in records] == [each.record for each in stored]
    model = load_file(folder / "model.safetensors")
    assert list(model) == ["model"]
    assert torch.equal(model["model"], done.store.state(done.run.id).model)


@pytest.mark.parametrize("which", ["inversion", "membership", "rows"])
def test_an_exported_attack_reads_back(done: Done, tmp_path: Path, which: str) -> None:
    job: Job = getattr(done, which)
    write_attack(done.store, job, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result == job.result
    assert Result.read(result) == Result.read(job.result)
    stored = pictures_of(done.store, job)
    written = load_file(tmp_path / "pictures.safetensors")
    assert written.keys() == stored.keys()
    assert all(torch.equal(written[name], several) for name, several in stored.items())
    expected = {
        f"{name}_{place}.png": png(picture)
        for name, several in stored.items()
        for place, picture in enumerate(several)
        if picture.ndim == 3  # rows of a table are no pictures
    }
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.png")} == expected
    assert len(expected) == {"inversion": 2, "membership": 16, "rows": 0}[which]


def test_a_folder_that_cannot_be_made_is_named(done: Done, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for write, job in ((write_run, done.run), (write_attack, done.inversion)):
        with pytest.raises(SettingError, match=r"--out .*file/below cannot be written"):
            write(done.store, job, tmp_path / "file" / "below")
