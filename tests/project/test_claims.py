"""What malicious clients were measured to do: on file, held against the claims, told in README."""

from __future__ import annotations

from typing import Any

import pytest

from attacks import POISONING_ATTACKS
from benchmarks.claims import CLAIMS, HOLDING, Found, of_backdoors, of_heat, of_poisons, shown
from benchmarks.contest import FILES, places_of, written
from benchmarks.sheets import of_backdoors as backdoors
from benchmarks.sheets import of_heat as heat
from benchmarks.sheets import of_rules as rules
from lab import ROOT
from lab.sweeps.cell_result import CellResult
from lab.sweeps.sweep import Sweep

GRID = """
measure = "backdoor"
seeds = [0, 1]
rows = [{ label = "mean" }]
columns = [
  { label = "attack", set = { adversary = { count = 2, start = 2, attack = "backdoor" } } },
]
"""


@pytest.mark.parametrize("name", FILES)
def test_what_is_on_file_is_of_the_sweep_as_it_is(name: str) -> None:
    sweep, kept = Sweep.from_file(FILES[name]), written(name)
    assert kept["settings"] == sweep.experiment.overrides()
    places = [{key: place[key] for key in ("row", "column")} for place in kept["places"]]
    wanted = [(row.label, column.label) for row in sweep.rows for column in sweep.columns]
    assert list(dict.fromkeys((each["row"], each["column"]) for each in places)) == wanted
    assert {len(place["accuracy"]) for place in kept["places"]} == {len(kept["seeds"])}


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_holds(name: str) -> None:
    assert [
        claim for claim in CLAIMS[name](Found(written(name)["places"])) if not claim.holds
    ] == []


def test_every_poison_is_tried() -> None:
    experiments = Sweep.from_file(FILES["contest"]).experiments.values()
    assert {each.adversary.attack.kind for each in experiments} == set(POISONING_ATTACKS)


@pytest.mark.parametrize(
    ("name", "sheet"), [("contest", rules), ("backdoors", backdoors), ("byzfl", heat)]
)
def test_readme_tells_what_is_on_file(name: str, sheet: Any) -> None:
    assert sheet(Found(written(name)["places"])).markdown() in (ROOT / "README.md").read_text(
        encoding="utf-8"
    )


def alike(name: str) -> Found:
    """As if nothing that was tried made any difference."""
    same = {"accuracy": [50.0], "success": [50.0], "first": [50.0]}
    return Found([place | same for place in written(name)["places"]])


def test_where_nothing_makes_a_difference_no_rule_was_broken() -> None:
    turned, *_, krum = of_poisons(alike("contest"))
    assert not turned.holds
    assert not krum.holds


def test_a_backdoor_that_half_of_the_pictures_obey_was_not_withstood() -> None:
    told = [claim for claim in of_backdoors(alike("backdoors")) if "10 % obey" in claim.says]
    assert len(told) == len(HOLDING)
    assert not any(claim.holds for claim in told)


def test_the_first_attacked_round_is_the_one_in_which_they_begin() -> None:
    sweep = Sweep.from_toml(GRID)
    one = CellResult("finished", "", (0.1, 0.2, 0.3), (0.0, 0.9, 0.8))
    other = CellResult("finished", "", (0.2, 0.3, 0.4), (0.1, 0.7, 0.6))
    runs = dict(zip(sweep.experiments, (one, other), strict=True))
    (place,) = places_of(sweep, runs)
    assert place == {
        "row": "mean",
        "column": "attack",
        "accuracy": [30.0, 40.0],
        "success": [80.0, 60.0],
        "first": [90.0, 70.0],
        "course": [5.0, 80.0, 70.0],
    }


def test_a_place_of_the_heat_map_is_the_best_rule_under_its_worst_attack() -> None:
    measured = {("a", "x"): 50.0, ("a", "y"): 80.0, ("b", "x"): 60.0, ("b", "y"): 55.0}
    places = [
        {"row": "r", "column": "c", "best": best, "worst": worst, "accuracy": [value]}
        for (best, worst), value in measured.items()
    ]
    assert shown(Found(places), "r", "c") == 55.0


def test_a_heat_map_that_rises_is_no_heat_map() -> None:
    values = {("1", "1"): 50.0, ("1", "2"): 60.0, ("2", "1"): 40.0, ("2", "2"): 30.0}
    right, down = of_heat(
        Found(
            [
                {"row": row, "column": column, "best": "", "accuracy": [value]}
                for (row, column), value in values.items()
            ]
        )
    )
    assert not right.holds
    assert "+10.0" in right.measured
    assert down.holds
