"""Figures of contests: who is malicious is told by place, sign and word, and every number is so."""

from __future__ import annotations

import pytest

from lab import figures
from lab.engine.server.server import FATES
from tests.support.figure_inputs import drawn, mustered, record, trace, traces

FATE = ("kept", "left out", "kept", "shortened", "kept", "kept")
MOVED = record(
    clients=(3, 5, 8, 9),
    malicious=(8, 9),
    lost=(9,),
    influence=(0.25, 0.5, 0.25, 0.0),
    share=(0.25, 0.5, 0.25, 0.0),
    verdict=("kept", "shortened", "left out", "left out"),
)


# --- who moved the model --------------------------------------------------------------------------


def test_malicious_clients_come_first_and_who_moved_most_before_the_others() -> None:
    figure = figures.moved(MOVED)
    above, below = traces(figure, "malicious"), traces(figure, "honest")
    assert [bars["y"] for bars in above] == [[0.25], [0.25]]
    assert [bars["y"] for bars in below] == [[0.5, 0.25], [0.5, 0.25]]
    # A gap divides the kinds.
    assert (above[0]["x"], below[0]["x"]) == ([0], [2, 3])
    axis = drawn(figure)["layout"]["xaxis2"]
    assert (axis["tickvals"], axis["ticktext"]) == ([0, 2, 3], ["8", "5", "3"])
    assert axis["title"]["text"] == "clients: malicious, then honest"


def test_who_is_malicious_is_told_by_pattern_and_words_as_well() -> None:
    figure = figures.moved(MOVED)
    bad, good = traces(figure, "malicious")[0], traces(figure, "honest")[0]
    assert bad["marker"]["pattern"]["shape"] != good["marker"]["pattern"]["shape"]
    assert bad["hovertext"] == [
        "client 8, malicious<br>25.0% of the step, weight 25.0%<br>left out"
    ]
    assert good["hovertext"][1].startswith("client 3, honest<br>25.0% of the step")


def test_a_line_says_where_all_would_be_alike() -> None:
    lines = drawn(figures.moved(MOVED))["layout"]["shapes"]
    assert [line["y0"] for line in lines] == [pytest.approx(1 / 3)] * 2


def test_very_many_clients_are_drawn_without_their_numbers() -> None:
    many = tuple(range(200))
    told = record(
        clients=many, malicious=many[:20], influence=(1 / 200,) * 200, share=(1 / 200,) * 200
    )
    figure = figures.moved(told)
    assert len(traces(figure, "honest")[0]["y"]) == 180
    axis = drawn(figure)["layout"]["xaxis2"]
    assert dict(zip(axis["ticktext"], axis["tickvals"], strict=True)) == {
        "malicious": 9.5, "honest": 110.5
    }  # fmt: skip
    assert drawn(figure)["layout"]["bargap"] == 0


@pytest.mark.parametrize("draw", [figures.moved, figures.judged])
def test_a_record_that_does_not_know_gives_an_empty_figure(draw: object) -> None:
    assert callable(draw)
    data = drawn(draw(record(clients=(0, 1), malicious=(1,))))["data"]
    assert not any(each["x"] for each in data)


# --- what the rule did ----------------------------------------------------------------------------


def test_a_verdict_has_a_lane_for_each_fate() -> None:
    figure = figures.judged(MOVED)
    lanes = drawn(figure)["layout"]["yaxis"]["ticktext"]
    assert set(lanes) == set(FATES)
    bad, good = trace(figure, "malicious"), trace(figure, "honest")
    assert [lanes[y] for y in bad["y"]] == ["left out"]
    assert [lanes[y] for y in good["y"]] == ["shortened", "kept"]
    assert bad["marker"]["symbol"] != good["marker"]["symbol"]
    assert (bad["x"], good["x"]) == ([0], [2, 3])  # as in the figure of who moved the model


def test_a_verdict_can_be_drawn_where_no_influence_is_known() -> None:
    told = MOVED.model_copy(update={"influence": (), "share": ()})
    assert len(trace(figures.judged(told), "honest")["y"]) == 2


# --- obedience ------------------------------------------------------------------------------------


def test_obedience_is_drawn_beside_clean_accuracy() -> None:
    records = [
        record(1, accuracy=0.5),
        record(2, accuracy=0.75, backdoor=0.25),
        record(3, accuracy=0.875, backdoor=1.0),
    ]
    figure = figures.obeyed(records, 2)
    assert trace(figure, "clean accuracy")["y"] == [0.5, 0.75, 0.875]
    assert trace(figure, "attacker obeyed")["y"] == [None, 0.25, 1.0]
    assert drawn(figure)["layout"]["shapes"][0]["x0"] == 2
    assert len({line["line"]["dash"] for line in drawn(figure)["data"]}) == 2
    assert len({line["marker"]["symbol"] for line in drawn(figure)["data"]}) == 2


# --- geometry -------------------------------------------------------------------------------------


def test_every_update_is_on_the_map_once_with_what_it_is_and_met() -> None:
    shown = mustered(6, bad=(1, 4), fates=FATE)
    figure = figures.landscape(shown)
    told: dict[str, tuple[float, float]] = {}
    for each in drawn(figure)["data"]:
        for words, x, y in zip(each.get("hovertext", ()), each["x"], each["y"], strict=False):
            told[words] = (x, y)
    expected = {
        f"client {k}: {'malicious' if k in (1, 4) else 'honest'}, {FATE[k]}": tuple(place)
        for k, place in enumerate(shown.geometry.places.tolist())
    }
    assert told == expected
    symbols = [each["marker"]["symbol"] for each in drawn(figure)["data"]]
    assert len(set(symbols)) == len(symbols)
    step = trace(figure, "the server's step")
    assert (step["x"][0], step["y"][0]) == shown.geometry.step
    assert drawn(figure)["layout"]["yaxis"]["scaleanchor"] == "x"


def test_a_map_without_a_verdict_tells_the_kinds_apart() -> None:
    figure = figures.landscape(mustered(5, bad=(2,)))
    assert trace(figure, "malicious")["marker"]["symbol"] == "diamond"
    assert trace(figure, "honest")["marker"]["symbol"] == "circle"


def test_cosines_have_malicious_clients_first_and_a_line_between() -> None:
    shown = mustered(6, bad=(1, 4))
    figure, order = figures.cosines(shown), [1, 4, 0, 2, 3, 5]
    (cells,) = drawn(figure)["data"]
    for i, one in enumerate(order):
        for j, other in enumerate(order):
            exact = float(shown.geometry.cosines[one, other])
            assert cells["z"][i][j] == pytest.approx(exact, abs=1e-4)
    assert cells["customdata"][0][2] == ["1 malicious", "0 honest"]
    assert (cells["zmin"], cells["zmax"]) == (-1, 1)
    layout = drawn(figure)["layout"]
    assert layout["xaxis"]["ticktext"] == [str(client) for client in order]
    assert {line["x0"] for line in layout["shapes"]} >= {1.5}
    assert not drawn(figures.cosines(mustered(6)))["layout"].get("shapes")


def test_cosines_of_very_many_clients_need_no_numbers() -> None:
    figure = figures.cosines(mustered(120, bad=range(20)))
    assert drawn(figure)["layout"]["xaxis"]["ticktext"] == ["malicious", "honest"]
    assert "texttemplate" not in drawn(figure)["data"][0]


def test_every_detector_has_a_line_that_starts_with_nobody_found() -> None:
    found = mustered(9, bad=(1, 4, 5)).geometry.detections
    figure = figures.detection(found)
    for each in found:
        line = trace(figure, each.name)
        assert (line["x"], line["y"]) == (
            [0, *each.false_positives],
            [0, *each.true_positives],
        )
    widths = [line["line"]["width"] for line in drawn(figure)["data"][1:]]
    assert widths == sorted(set(widths), reverse=True)  # so that none hides another
