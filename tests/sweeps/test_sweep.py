"""Sweeps: what a file may say, the arithmetic of best and worst by hand, and the heat map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lab import Experiment, figures
from lab.common.settings import SettingError
from lab.experiment import presets
from lab.reports.html_report import render_sweep
from lab.sweeps.cell_result import CellResult
from lab.sweeps.result_table import ResultTable, lines, result_table
from lab.sweeps.sweep import MOST, Sweep
from tests.support.experiment_files import refusal
from tests.support.figure_inputs import Trace, drawn, trace
from tests.support.html_pages import parsed
from tests.support.sweeps import GRID, axis, filled, sweep


def told(table: ResultTable) -> list[list[str]]:
    return [[entry.told() for entry in row] for row in table.entries]


# --- what a file says ---------------------------------------------------------------------------


def test_cells_are_every_combination_row_by_row() -> None:
    cells = Sweep.from_toml(GRID).cells
    assert [(cell.place[:2], cell.seed) for cell in cells] == [
        ((row, column), seed) for row in (0, 1) for column in (0, 1) for seed in (0, 1)
    ]
    last = cells[-1].experiment
    assert last == Experiment.read(
        {
            "seed": 1,
            "data": {"source": "digits", "clients": 5},
            "training": {"rounds": 2},
            "aggregation": {"rule": {"kind": "krum", "faulty": 1}},
            "adversary": {"count": 1, "attack": "label-flip"},
        }
    )


def test_a_section_that_is_written_as_a_table_leaves_the_rest_of_it_alone() -> None:
    rows = [
        {"label": "few", "set": {"data": {"clients": 3}, "aggregation.rule": {"kind": "median"}}}
    ]
    cell = sweep(rows=rows, columns=[{"label": "x"}]).cells[0]
    assert cell.experiment is not None
    assert cell.experiment.data.dump() == Sweep.from_toml(GRID).experiment.data.dump() | {
        "clients": 3
    }
    assert cell.experiment.aggregation.rule.kind == "median"


def test_without_seeds_the_experiments_own_counts() -> None:
    of_seven = sweep(seeds=[], experiment={"seed": 7, "data": {"source": "digits"}})
    assert {cell.seed for cell in of_seven.cells} == {7}


def test_equal_experiments_have_one_key_and_are_run_once() -> None:
    twins = [{"label": "one"}, {"label": "other", "set": {"aggregation.rule.kind": "mean"}}]
    assert len(sweep(rows=twins).cells) == 8
    assert len(sweep(rows=twins).experiments) == 4


def test_a_title_or_a_measure_makes_no_other_runs() -> None:
    other = sweep(title="", measure="backdoor", last=2)
    assert other.experiments == Sweep.from_toml(GRID).experiments


@pytest.mark.parametrize("file", presets.sweeps().values(), ids=lambda file: file.stem)
def test_every_sweep_that_comes_with_the_lab_can_be_read_and_written(file: Path) -> None:
    read = Sweep.from_file(file)
    assert Sweep.from_toml(read.to_toml()) == read
    assert not [cell.refused for cell in read.cells if cell.refused]


def test_no_file_is_both_an_experiment_and_a_sweep() -> None:
    assert "byzantine" in presets.sweeps()
    assert "default" in presets.experiments()
    assert not presets.sweeps().keys() & presets.experiments().keys()


def test_a_file_that_cannot_be_read_is_no_sweep(tmp_path: Path) -> None:
    (tmp_path / "broken.toml").write_text("[[rows]\n")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    assert not presets.is_sweep(tmp_path / "broken.toml")
    assert not presets.is_sweep(tmp_path / "bytes.toml")
    assert not presets.is_sweep(tmp_path / "nowhere.toml")


def test_settings_replace_those_of_the_experiment() -> None:
    changed = Sweep.from_toml(GRID).changed({"training.rounds": 1})
    assert {one.training.rounds for one in changed.experiments.values()} == {1}
    assert changed.rows == Sweep.from_toml(GRID).rows


# --- what is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"rows": []}, "rows is"),
        ({"rows": [{"set": {}}]}, "rows.0.label"),
        ({"rows": [{"label": "x", "sets": {}}]}, "rows.0.sets is not a setting: did you mean set?"),
        ({"rows": [{"label": ""}]}, "rows.0.label is ''"),
        ({"rows": [{"label": "two\nlines"}]}, "rows.0.label"),
        ({"rows": [{"label": "x", "set": 3}]}, "rows.0.set is 3"),
        ({"rows": [{"label": "x", "set": {"rul": "mean"}}]}, "rows.0.set: rul is not a setting"),
        (
            {"columns": [{"label": "x", "set": {"adversary.cout": 1}}]},
            "columns.0.set: 'adversary.cout' is not a setting: did you mean count?",
        ),
        ({"columns": [{"label": "x", "set": {"data": 3}}]}, "columns.0.set: data is not a setting"),
        ({"rows": [{"label": "x", "set": {"seed": 3}}]}, "give seeds for the whole sweep"),
        ({"columns": [{"label": "x"}] * 2}, "columns has the label x twice"),
        ({"seeds": [1, 2, 1]}, "seeds has 1 twice"),
        ({"seeds": [-1]}, "seeds.0 is -1"),
        ({"seeds": [True]}, "seeds.0 is True"),
        ({"measure": "loss"}, "measure is 'loss'"),
        ({"last": 0}, "last is 0"),
        ({"experiment": {"training": {"rate": 20}}}, "experiment.training.rate is 20"),
        ({"experiment": {"data": {"clients": 90_000}}}, "experiment.data.clients is 90000"),
        (
            {"worst": axis("adversary.count", [1, 2])},
            "columns and worst both set adversary.count",
        ),
        ({"row": []}, "row is not a setting: did you mean rows?"),
    ],
)
def test_a_wrong_field_is_named(changed: dict[str, Any], words: str) -> None:
    assert words in refusal(lambda: sweep(**changed))


def test_too_many_runs_are_refused_before_they_are_made() -> None:
    wide = {
        "rows": axis("training.rounds", range(1, 51)),
        "columns": axis("training.epochs", range(1, 51)),
        "worst": axis("training.batch_size", range(1, 51)),
    }
    assert f"125000 runs, and {MOST} are allowed" in refusal(lambda: sweep(seeds=[0], **wide))


def test_a_sweep_of_nothing_but_refusals_is_refused() -> None:
    rows = axis("aggregation.rule.faulty", [7, 8])
    whole = {
        "aggregation": {"rule": "krum"},
        "data": {"source": "digits", "clients": 20},
        "adversary": {"count": 1},
    }
    columns = axis("data.clients", [3])
    assert "every run is refused, the first because" in refusal(
        lambda: sweep(rows=rows, columns=columns, experiment=whole)
    )


@pytest.mark.parametrize(
    "text",
    [
        "rows = 3",
        "rows = [3]",
        "[[rows]]\nlabel = 3",
        "rows = [" + "{label = 'x'}, " * 10**4 + "]",
        "[[rows]]\nlabel = '" + "x" * 10**5 + "'",
        "[[rows]]\nlabel = 'x'\nset = { '' = 1 }\n[[columns]]\nlabel = 'x'",
        "[[rows]]\nlabel = 'x'\nset = { '" + "a." * 3000 + "b' = 1 }\n[[columns]]\nlabel = 'x'",
        "[[rows]]\nlabel = 'x'\nset = { seed = 1979-05-27 }\n[[columns]]\nlabel = 'x'",
        "seeds = [" + "9" * 5000 + "]",
        "experiment = " + "[" * 5000,
        "title = \x00",
    ],
)
def test_a_hostile_file_is_refused_in_words(text: str) -> None:
    assert refusal(lambda: Sweep.from_toml(text))


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)
NAMES = st.sampled_from([*Sweep.model_fields, "label", "set", "aggregation.rule"])


@given(st.dictionaries(NAMES, PLAIN | st.lists(st.dictionaries(NAMES, PLAIN), max_size=3)))
def test_whatever_lacks_rows_is_refused_in_words(values: dict[str, Any]) -> None:
    values.pop("rows", None)
    with pytest.raises(SettingError):
        Sweep.read(values)


# --- best and worst, by hand --------------------------------------------------------------------


def test_a_place_shows_the_mean_of_its_seeds_and_a_row_its_worst() -> None:
    table = filled(Sweep.from_toml(GRID), [0.8, 0.9, 0.5, 0.6, 0.7, 0.7, 0.75, 0.75])
    assert told(table) == [["85.0%", "55.0%"], ["70.0%", "75.0%"]]
    assert [entry.told() for entry in table.worst] == ["55.0%", "70.0%"]
    assert [entry.column for entry in table.worst] == ["flip", "none"]
    assert table.entries[0][1].seeds == {0: 0.5, 1: 0.6}


def test_of_a_backdoor_the_highest_is_the_worst() -> None:
    table = filled(sweep(measure="backdoor"), [0.0, 0.0, 0.9, 0.7, 0.1, 0.1, 0.2, 0.2])
    assert [entry.told() for entry in table.worst] == ["80.0%", "20.0%"]


@pytest.mark.parametrize(("last", "value"), [(1, "90.0%"), (2, "70.0%"), (9, "70.0%")])
def test_the_measure_is_the_mean_of_the_last_rounds(last: int, value: str) -> None:
    swept = sweep(last=last, seeds=[0], rows=[{"label": "x"}], columns=[{"label": "y"}])
    assert told(filled(swept, [0.9])) == [[value]]  # 50 % in the round before


BOTH = {
    "seeds": [0],
    "rows": [{"label": "x"}],
    "columns": [{"label": "y"}],
    "best": axis("aggregation.rule.kind", ["mean", "median"]),
    "worst": axis("adversary.attack.kind", ["label-flip", "sign-flip", "backdoor"]),
}


def test_a_place_shows_the_best_rule_against_its_worst_attack() -> None:
    """Not the best of each attack: a server has one rule, and the attacker looks at it."""
    # mean: 90, 20, 80; median: 60, 70, 50.  Worst 20 and 50, so median against the backdoor.
    entry = filled(sweep(**BOTH), [0.9, 0.2, 0.8, 0.6, 0.7, 0.5]).entries[0][0]
    assert (entry.told(), entry.best, entry.worst) == (
        "50.0%",
        "aggregation.rule.kind median",
        "adversary.attack.kind backdoor",
    )


def test_of_a_backdoor_best_is_low_and_worst_is_high() -> None:
    # Worst 90 and 70: median against the second attack.
    table = filled(sweep(measure="backdoor", **BOTH), [0.9, 0.2, 0.8, 0.6, 0.7, 0.5])
    assert table.entries[0][0].told() == "70.0%"
    assert table.entries[0][0].worst == "adversary.attack.kind sign-flip"


def test_seeds_are_averaged_before_a_rule_is_chosen() -> None:
    """Chosen by each seed the best would be 80 %, by luck."""
    inner = BOTH | {"seeds": [0, 1], "worst": []}
    entry = filled(sweep(**inner), [0.8, 0.2, 0.4, 0.8]).entries[0][0]
    assert (entry.told(), entry.best) == ("60.0%", "aggregation.rule.kind median")


def test_what_one_run_may_still_change_is_not_told() -> None:
    table = filled(sweep(**BOTH), [0.9, 0.2, 0.8, 0.6, None, 0.5])
    assert told(table) == [["waiting"]]
    assert table.worst[0].value is None


def test_a_refused_rule_leaves_the_choice_to_the_others() -> None:
    best = [
        *BOTH["best"],
        {"label": "Krum", "set": {"aggregation.rule": {"kind": "krum", "faulty": 9}}},
    ]  # type: ignore[misc]
    swept = sweep(**BOTH | {"best": best})
    assert [bool(cell.refused) for cell in swept.cells] == [False] * 6 + [True] * 3
    table = filled(swept, [0.9, 0.2, 0.8, 0.6, 0.7, 0.5, None, None, None])
    assert told(table) == [["50.0%"]]


def test_a_refused_place_says_why_and_a_failed_one_hides_the_worst() -> None:
    rows = [
        {"label": "Krum", "set": {"aggregation.rule": {"kind": "krum", "faulty": 1}}},
        {"label": "mean"},
    ]
    columns = axis("data.clients", [3, 8])
    swept = sweep(rows=rows, columns=columns, seeds=[0])
    few, many, of_mean, failed = swept.cells
    assert few.key == ""
    outcomes = {
        many.key: CellResult("finished", "", (0.7,)),
        of_mean.key: CellResult("finished", "", (0.9,)),
        failed.key: CellResult("failed", "RuntimeError: a wire came loose"),
    }
    table = result_table(swept, outcomes)
    assert told(table) == [["refused", "70.0%"], ["90.0%", "failed"]]
    assert [entry.told() for entry in table.worst] == ["70.0%", "failed"]
    refused, lost = table.reasons()
    assert refused.startswith(
        "Krum / data.clients 3: refused: aggregation.rule.faulty is 1, too many for 3"
    )
    assert lost == "mean / data.clients 8: failed: RuntimeError: a wire came loose"
    assert [line["status"] for line in lines(swept, outcomes)] == [
        "refused",
        "finished",
        "finished",
        "failed",
    ]


def test_a_run_without_a_backdoor_is_no_success_of_the_defence() -> None:
    swept = sweep(measure="backdoor", seeds=[0])
    outcomes = {key: CellResult("finished", "", (0.9,), (None,)) for key in swept.experiments}
    table = result_table(swept, outcomes)
    assert table.entries[0][0].told() == "refused"
    assert table.reasons()[0].endswith("refused: its runs measure no backdoor")


def test_a_run_that_its_budget_ended_counts_and_says_so() -> None:
    swept = sweep(seeds=[0])
    ended = CellResult("finished", "round 2 would pass the budget", (0.4,))
    table = result_table(swept, dict.fromkeys(swept.experiments, ended))
    assert table.entries[0][0].told() == "40.0%"
    assert "round 2 would pass the budget" in table.reasons()[0]


# --- the heat map -------------------------------------------------------------------------------

TABLE = filled(Sweep.from_toml(GRID), [0.8, 0.9, 0.5, 0.6, 0.7, 0.7, None, 0.75])


def heat(name: str, table: ResultTable = TABLE) -> Trace:
    return trace(figures.heat(table), name)


def test_the_heat_map_carries_the_values_and_writes_them() -> None:
    places = heat("places")
    assert places["z"] == [[pytest.approx(0.85), pytest.approx(0.55)], [0.7, None]]
    assert places["text"] == [["85", "55"], ["70", ""]]
    assert (places["zmin"], places["zmax"]) == (0, 1)


def test_the_worst_of_each_row_stands_apart() -> None:
    places, worst = heat("places"), heat("worst of each row")
    assert [value for (value,) in worst["z"]] == [pytest.approx(0.55), None]
    assert worst["x"][0] - places["x"][-1] > places["x"][1] - places["x"][0]
    assert (worst["colorscale"], worst["zmax"]) == (places["colorscale"], places["zmax"])


def test_a_place_without_a_value_has_a_word() -> None:
    assert heat("places without a value")["text"] == [["", ""], ["", "…"]]
    assert heat("places without a value")["z"] == [[None, None], [None, 0]]


def test_pointing_at_a_place_tells_each_seed() -> None:
    assert (
        heat("places")["hovertext"][0][1] == "mean / flip<br>55.0%<br>seed 0: 50.0%, seed 1: 60.0%"
    )


def test_bright_is_good_whatever_was_measured() -> None:
    backdoor = filled(sweep(measure="backdoor"), [0.1] * 8)
    accuracy, success = heat("places")["colorscale"], heat("places", backdoor)["colorscale"]
    assert [colour for _, colour in accuracy] == [colour for _, colour in reversed(success)]


def test_labels_are_never_taken_for_markup() -> None:
    rows = [
        {"label": "<b>a</b> & <a href='x'>"},
        {"label": "b", "set": {"aggregation.rule": "median"}},
    ]
    table = filled(sweep(rows=rows, title="<script>alert(1)</script>"), [0.5] * 8)
    ticks = drawn(figures.heat(table))["layout"]["yaxis"]["ticktext"]
    assert ticks[0].replace("<br>", " ") == "&lt;b&gt;a&lt;/b&gt; &amp; &lt;a href='x'&gt;"
    page = parsed(render_sweep(table))
    assert page.texts["h1"] == ["<script>alert(1)</script>"]
    assert page.texts["th"].count("<b>a</b> & <a href='x'>") == 1
    assert not [one for one in page.of("a") if one.get("href") == "x"]


def test_the_page_needs_nothing_from_outside_and_holds_every_number() -> None:
    page = parsed(render_sweep(TABLE))
    assert [one for one in page.of("script") if one.get("src")] == []
    assert page.of("link") == []
    assert page.texts["td"] == ["85.0%", "55.0%", "55.0%", "70.0%", "waiting", "waiting"]
    assert Sweep.from_toml(page.texts["pre"][-1]) == TABLE.sweep
