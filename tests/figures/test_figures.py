"""Figures: what they show is what was recorded, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import pairwise
from math import log10, nan
from typing import Any

import numpy as np
import plotly.graph_objects as go
import pytest

from datasets import PARTITIONS
from defenses import AGGREGATION_RULES
from lab import figures
from lab.attack_runs.reconstruction.quick_look import QuickLook
from lab.experiment.experiment import SettingsChange
from lab.figures.toy_updates import of_rule, of_split
from lab.privacy.guarantee import AttackCeiling
from lab.scoring import secret_score
from lab.scoring.audit_score import AuditReading, AuditScore
from lab.scoring.membership.leakage_by_group import GroupLeakage
from lab.scoring.membership.membership_score import MembershipScore, score_membership
from lab.scoring.property_score import PropertyEstimate, PropertyScore
from lab.scoring.secret_score import SecretExposureScore
from lab.sweeps.tradeoff import points
from tests.support.figure_inputs import drawn, federation_of, mustered, record, trace, traces
from tests.support.studies import ended, quick
from tests.support.sweeps import filled, sweep


def exposure(members: int = 500, others: int = 1_500, seed: int = 0) -> MembershipScore:
    generator = np.random.default_rng(seed)
    scores = np.concatenate([generator.normal(1.0, size=members), generator.normal(size=others)])
    return score_membership(scores, np.arange(members + others) < members, None, None)


EXPOSURE = exposure()
RECORDS = (
    record(1, accuracy=0.1, loss=2.5, epsilon=0.5, bytes_up=3_000_000, bytes_down=1_500_000),
    record(2, accuracy=0.25, loss=None, epsilon=0.75, bytes_up=0, bytes_down=2_000_000),
    record(4, accuracy=0.875, loss=0.5, epsilon=1.0, backdoor=0.125, clients=(0, 2), lost=(2,)),
)
CHANGES = (
    SettingsChange(round=2, set={"privacy.kind": "client"}),
    SettingsChange(round=4, set={"aggregation.rule.kind": "median", "network.dropout": 0.5}),
)
MOVED = record(
    clients=(0, 1, 2, 3),
    malicious=(2,),
    lost=(3,),
    influence=(0.25, 0.5, 0.25, 0.0),
    share=(0.5, -0.25, 0.75, 0.0),
    verdict=("kept", "shortened", "left out", "left out"),
)
SHOWN = mustered(6, bad=(1, 4), fates=("kept", "left out", "kept", "shortened", "kept", "kept"))
GROUPS = (
    GroupLeakage(number=0, members=30, others=90, skew=0.1, auc=0.7, low=0.6, high=0.8, apart=True),
    GroupLeakage(number=1, members=5, others=90, skew=0.1),
    GroupLeakage(number=2, members=40, others=90, skew=0.1, auc=0.5, low=0.45, high=0.55),
)
AUDITED = AuditScore(
    readings=(
        AuditReading(
            round=1, claimed=2.0, proven=1.0, certain=0.5, beside={"f-dp": 0.5}, point=2.5
        ),
        AuditReading(
            round=2, claimed=3.0, proven=2.0, certain=1.5, beside={"f-dp": 0.8}, point=None
        ),
    ),
    delta=1e-5,
    confidence=0.95,
    adversary="whoever looks",
    unit="example",
    canaries=100,
    included=51,
    fault="none",
    bounds=(),
    verdict="nothing speaks against it",
)
POLL = PropertyScore(
    trait="bright",
    told="is brighter than most",
    public=0.5,
    present=0.5,
    said=(PropertyEstimate(clients=(0,), round=1, score=0.7, share=0.6),),
    verdict="cannot be told",
    error=0.1,
    guessed=0.1,
)
SECRETS = SecretExposureScore(
    space=1000,
    groups=tuple(
        secret_score.SecretGroup(
            copies=copies,
            exposures=(1.0, 2.0),
            mean=1.5,
            low=1.0,
            high=2.0,
            luck=0.5,
            first=0,
            continued=0,
            followed=1,
        )
        for copies in (0, 4)
    ),
    expected=1.44,
    expected_low=1.0,
    expected_high=2.0,
    examples=("my pin is 1 2 3",),
    verdict="no more exposed than by luck",
)
COUNTED = {"PLD": [1.0, 1.5, 2.0], "RDP": [1.5, 2.0, 3.0], "PRV": [1.1, 1.6, None]}
POINTS = points(quick(), ended(quick()))
FIGURES: dict[str, tuple[Callable[..., go.Figure], tuple[Any, ...]]] = {
    "curves": (figures.curves, (RECORDS, CHANGES, 6)),
    "traffic": (figures.traffic, (RECORDS,)),
    "fairness": (figures.fairness, (RECORDS[0],)),
    "federation": (figures.federation, (federation_of(5, bad=(1, 2)), RECORDS[-1])),
    "split": (figures.split, (federation_of(5, classes=3),)),
    "said": (figures.said, (POLL,)),
    "secrets": (figures.secrets, (SECRETS,)),
    "dealt": (figures.dealt, (of_split(PARTITIONS["iid"]()),)),
    "seats": (figures.seats, ("server",)),
    "toy": (figures.toy, (of_rule(AGGREGATION_RULES["mean"]()),)),
    "compared": (figures.compared, ({"one": RECORDS, "other": RECORDS[:1]},)),
    "roc": (figures.roc, (EXPOSURE, AttackCeiling(epsilon=2, delta=1e-3))),
    "rocs": (
        figures.rocs,
        ({"one": EXPOSURE, "other": EXPOSURE}, AttackCeiling(epsilon=2, delta=1e-3)),
    ),
    "frontier": (figures.frontier, (POINTS, "auc", "epsilons")),
    "groups": (figures.groups, (GROUPS, ["shirt", "bag", "coat"], "class")),
    "histogram": (figures.histogram, (EXPOSURE,)),
    "promises": (figures.promises, (AUDITED, 4)),
    "reach": (
        figures.reach,
        (
            AttackCeiling(epsilon=2, delta=1e-3),
            ((0.1, 0.4), (0.5, 0.9)),
            {"attack": EXPOSURE.curve},
        ),
    ),
    "spending": (
        figures.spending,
        ([1, 2, 4], COUNTED, 2, 3.0, [0.5, 0.8, None], [2]),
    ),
    "trade_off": (figures.trade_off, ({"epsilon 2": AttackCeiling(epsilon=2, delta=1e-3)},)),
    "moved": (figures.moved, (MOVED,)),
    "judged": (figures.judged, (MOVED,)),
    "obeyed": (figures.obeyed, (RECORDS, 2)),
    "landscape": (figures.landscape, (SHOWN,)),
    "cosines": (figures.cosines, (SHOWN,)),
    "detection": (figures.detection, (SHOWN.geometry.detections,)),
    "approach": (figures.approach, ([10, 20], [12.0, 40.0], 11.5)),
    "heat": (figures.heat, (filled(sweep(), [0.8, 0.9, 0.5, 0.6, 0.7, 0.7, None, 0.75]),)),
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


@pytest.mark.parametrize("name", sorted({*FIGURES} - {"federation", "heat", "seats"}))
def test_axes_say_what_they_show(name: str) -> None:
    draw, given_ = FIGURES[name]
    layout = drawn(draw(*given_))["layout"]
    # Of several, one above the other.
    lowest = {"curves": "xaxis3", "compared": "xaxis3", "moved": "xaxis2"}.get(name, "xaxis")
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


def test_baselines_are_drawn_beside_the_run() -> None:
    central = [record(1, accuracy=0.5), record(2, accuracy=0.75)]
    alone = [record(1, accuracy=0.25, single=(0.125, None, 0.375))]
    beside = {"centralised": central, "local-only": alone}
    figure = figures.curves(RECORDS, rounds=6, baselines=beside)
    line = trace(figure, "centralised")
    assert (line["x"], line["y"]) == ([1, 2], [0.5, 0.75])
    assert trace(figure, "local-only, mean of the clients")["y"] == [0.25]
    assert trace(figure, "local-only, worst to best")["y"] == [0.375, 0.125]


def test_against_costs_a_baseline_is_the_level_that_it_ends_at() -> None:
    central = [record(1, accuracy=0.5), record(2, accuracy=0.75)]
    figure = figures.curves(RECORDS, against="megabytes", baselines={"centralised": central})
    run, line = trace(figure, "accuracy"), trace(figure, "centralised")
    assert line["y"] == [0.75, 0.75]
    assert line["x"] == [run["x"][0], run["x"][-1]]


def test_a_baseline_that_has_not_begun_is_not_drawn() -> None:
    figure = figures.curves(RECORDS, baselines={"centralised": []})
    assert not traces(figure, "centralised")


READ = [
    QuickLook(1, 120.0, 11.0, "dB"),
    QuickLook(2, 9.0, 12.0, "dB"),
    QuickLook(3, 8.0, 12.0, "dB"),
]


def test_what_was_read_is_drawn_below_beside_what_a_guess_reaches() -> None:
    figure = figures.curves(RECORDS, against="megabytes", read=READ)
    line, guess = trace(figure, "read by the server"), trace(figure, "guess without the update")
    assert (line["y"], guess["y"]) == ([120.0, 9.0], [11.0, 12.0])  # there is no record of round 3
    assert line["x"] == trace(figure, "accuracy")["x"][:2]
    assert line["yaxis"] == guess["yaxis"] != trace(figure, "epsilon")["yaxis"]
    assert line["line"]["dash"] != guess["line"]["dash"]
    assert drawn(figure)["layout"]["yaxis4"]["title"]["text"] == "read, dB"


def test_what_was_read_in_several_runs_is_laid_over_each_other() -> None:
    runs = {"one": RECORDS, "other": RECORDS}
    lines = drawn(figures.compared(runs, {"one": READ, "other": READ[1:]}))["data"]
    below = [(line["name"], line["y"]) for line in lines if line["yaxis"] == "y4"]
    assert below == [("one", [120.0, 9.0, 8.0]), ("other", [9.0, 8.0])]


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
        (1.5, "Privacy: client"),
        (3.5, "Aggregation rule: Median<br>Network dropout: 0.5"),
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


def test_many_rounds_are_drawn_as_lines_alone() -> None:
    """Marks and bars would touch, and a browser would draw thousands of them at each update."""
    many = [record(k + 1) for k in range(61)]
    for draw in (figures.curves, figures.traffic):
        few, crowded = draw(many[:60]), draw(many)
        assert not {line.mode for line in few.data if line.type == "scatter"} - {"lines+markers"}
        assert {line.mode for line in crowded.data} == {"lines"}


# --- membership and inversion -------------------------------------------------------------------


def test_the_roc_is_logarithmic_down_to_what_the_others_can_show() -> None:
    layout = drawn(figures.roc(EXPOSURE))["layout"]
    for axis in ("xaxis", "yaxis"):
        assert layout[axis]["type"] == "log"
        assert layout[axis]["range"] == pytest.approx([log10(1 / EXPOSURE.others), 0])


def test_the_roc_carries_the_numbers_of_the_exposure() -> None:
    found, ceiling = figures.roc(EXPOSURE, AttackCeiling(epsilon=2, delta=1e-3)), EXPOSURE.curve
    points = zip(ceiling.false_positives, ceiling.true_positives, strict=True)
    kept = [(x, y) for x, y in points if x >= 1 / EXPOSURE.others]
    attack = trace(found, "attack")
    assert list(zip(attack["x"], attack["y"], strict=True)) == kept
    chance = trace(found, "chance")
    assert chance["x"] == chance["y"] == attack["x"]
    best = AttackCeiling(epsilon=2, delta=1e-3).true_positives(np.array(attack["x"]))
    assert trace(found, "ceiling of epsilon 2")["y"] == best.tolist()
    band = trace(found, "95 % band")
    count = len(kept)
    assert band["x"] == attack["x"] + attack["x"][::-1]
    assert band["y"][:count] == list(ceiling.high[-count:])
    assert band["y"][count:] == list(ceiling.low[-count:])[::-1]


def test_the_lines_of_the_roc_differ_by_more_than_colour() -> None:
    figure = figures.roc(EXPOSURE, AttackCeiling(epsilon=2, delta=1e-3))
    names = ("attack", "chance", "ceiling of epsilon 2")
    assert len({trace(figure, name)["line"].get("dash", "solid") for name in names}) == 3


def test_a_roc_on_log_axes_has_no_zero() -> None:
    scores = np.r_[np.zeros(50), np.ones(400)]  # no member above any other
    found = figures.roc(score_membership(scores, np.arange(450) < 50, None, None))
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


def test_rocs_share_one_pair_of_axes_and_differ_by_more_than_colour() -> None:
    few = score_membership(np.arange(30.0), np.arange(30) % 2 == 0, None, None)
    figure = figures.rocs({"one": EXPOSURE, "few": few})
    lines = [trace(figure, name) for name in ("one", "few")]
    assert len({line["line"]["dash"] for line in lines}) == 2
    assert [min(line["x"]) for line in lines] >= [1 / EXPOSURE.others, 1 / few.others]
    most = max(EXPOSURE.others, few.others)
    assert drawn(figure)["layout"]["xaxis"]["range"] == pytest.approx([log10(1 / most), 0])


def test_where_ten_false_positives_are_missing_the_roc_is_shaded() -> None:
    (shade,) = drawn(figures.roc(EXPOSURE))["layout"]["shapes"]
    least = 1 / EXPOSURE.others
    assert [shade["x0"], shade["x1"]] == pytest.approx([least, min(1, 10 * least)])


def test_groups_are_drawn_with_intervals_and_those_apart_have_a_sign() -> None:
    figure = figures.groups(GROUPS, ["shirt", "bag", "coat"], "class")
    apart, like = trace(figure, "apart"), trace(figure, "like the rest")
    assert (apart["x"], apart["y"], like["x"], like["y"]) == (["shirt"], [0.7], ["coat"], [0.5])
    assert apart["error_y"]["array"] == pytest.approx([0.1])
    assert apart["error_y"]["arrayminus"] == pytest.approx([0.1])
    assert apart["marker"]["symbol"] != like["marker"]["symbol"]


def test_the_approach_is_drawn_above_its_floor() -> None:
    figure = figures.approach([10, 20, 30], [9.0, 12.5, 70.0], 11.25)
    line = trace(figure, "reconstruction")
    assert (line["x"], line["y"]) == ([10, 20, 30], [9.0, 12.5, 70.0])
    layout = drawn(figure)["layout"]
    assert [(one["y0"], one["line"]["dash"]) for one in layout["shapes"]] == [(11.25, "dash")]
    assert layout["annotations"][0]["text"] == "best guess without it"


# --- the budget -----------------------------------------------------------------------------------


def test_spending_shows_what_is_still_a_forecast() -> None:
    figure = figures.spending([1, 2, 4], COUNTED, 2, 3.0, changes=[2])
    lines = {line["name"]: line["y"] for line in drawn(figure)["data"]}
    assert lines == COUNTED
    shapes = drawn(figure)["layout"]["shapes"]
    assert [(one["x0"], one["x1"]) for one in shapes if one["type"] == "rect"] == [(2, 4)]
    assert [one["y0"] for one in shapes if one.get("y0") == one.get("y1")] == [3.0]
    assert 1.5 in [one["x0"] for one in shapes]
    finished = figures.spending([1, 2, 4], COUNTED, 4, 3.0)
    assert not [one for one in drawn(finished)["layout"]["shapes"] if one["type"] == "rect"]


def test_the_trade_off_is_drawn_where_no_attack_can_pass() -> None:
    ceiling = AttackCeiling(epsilon=1, delta=0.01)
    line = trace(figures.trade_off({"epsilon 1": ceiling}), "epsilon 1")
    assert line["y"] == pytest.approx(ceiling.true_positives(np.array(line["x"])).tolist())
