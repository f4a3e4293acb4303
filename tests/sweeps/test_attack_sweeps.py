"""What leaks when: sweeps that end with an attack, their lessons, their pictures and their page."""

from __future__ import annotations

import csv
import json
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from lab import Experiment, run
from lab.attack_runs.reconstruction.reconstruction import run_reconstruction
from lab.attack_runs.shared.attack_request import AttackSpec
from lab.cli import main
from lab.common.settings import SettingError
from lab.engine.participation.cohort_sampling import select_cohort
from lab.experiment import presets
from lab.jobs.local_sweep import run_sweep_locally
from lab.jobs.sweep_job import carry_out_cell
from lab.reports.html_report import render_sweep
from lab.reports.leak_gallery import fragment
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.worker_store import WorkerStore
from lab.sweeps.attacked_run import attacked_at_end, target_of
from lab.sweeps.cell_result import AttackSummary, CellResult
from lab.sweeps.lesson import lesson_of
from lab.sweeps.result_table import ResultTable, result_table
from lab.sweeps.sweep import Sweep
from tests.support.app_pages import button, labels, opened, words, work_off
from tests.support.experiment_files import refusal
from tests.support.html_pages import parsed

QUICK = """
title = "Attack by defence"
lesson = "Noise stops it."
measure = "leak"
[attack]
kind = "first-layer"
round = 1
[experiment.data]
source = "digits"
clients = 4
examples = 40
[experiment.training]
rounds = 2
steps = 1
batch_size = 1
[[rows]]
label = "none"
expects = "exact"
[[rows]]
label = "noise"
set = { privacy = { kind = "example", sampling = "fixed", noise = 10.0 } }
expects = "stopped"
[[columns]]
label = "first layer"
[[columns]]
label = "CNN"
set = { model = "lenet" }
[[columns]]
label = "labels"
set = { "attack.kind" = "label-counts" }
"""


@pytest.fixture
def grid(store: Store) -> SweepRuns:
    return SweepRuns(store, quick())


def quick(**changed: Any) -> Sweep:
    return Sweep.read(Sweep.from_toml(QUICK).dump() | changed)


def whole(grid: SweepRuns) -> ResultTable:
    deque(run_sweep_locally(grid, 1), maxlen=0)
    return grid.tally()


def leak(
    verdict: str = "partial: x", median: float | None = 20.0, floor: float = 10.0
) -> AttackSummary:
    numbers = () if median is None else (median, floor, median - floor)
    return AttackSummary("spear", 1, 0, "8", "0.5", verdict, *numbers)


def filled(sweep: Sweep, leaks: list[AttackSummary | None]) -> ResultTable:
    """The table of attacks that came to this, in the order of the cells; None: not yet."""
    there = zip([cell for cell in sweep.cells if cell.key], leaks, strict=True)
    return result_table(
        sweep, {c.key: CellResult("finished", leak=found) for c, found in there if found}
    )


# --- what a file says ---------------------------------------------------------------------------


def test_rows_and_columns_may_set_the_attack() -> None:
    rows = [{"label": "late", "set": {"attack.round": 2, "attack.client": 3}}]
    columns = [
        {"label": "x", "set": {"attack": {"kind": "spear", "seed": 5}}},
        {"label": "y", "set": {"attack.kind": "spear", "attack.iterations": 7}},
        {"label": "z", "set": {"attack.kind": "label-counts"}},
    ]
    attacks = [cell.attack for cell in quick(lesson="", rows=rows, columns=columns).cells]
    assert [one and one.dump() for one in attacks] == [
        AttackSpec.read({**spy, "round": 2, "client": 3}).dump()
        for spy in (
            {"kind": "spear", "seed": 5},
            {"kind": "spear", "iterations": 7},
            {"kind": "label-counts"},
        )
    ]


def test_attacks_tell_runs_apart_and_leave_other_sweeps_alone() -> None:
    keys = [cell.key for cell in quick().cells if cell.key]
    assert len(set(keys)) == len(keys) == 4
    plain = Sweep.from_toml(QUICK).experiment
    bare = Sweep.read(
        {"experiment": plain.dump(), "rows": [{"label": "x"}], "columns": [{"label": "x"}]}
    )
    assert bare.cells[0].body() == plain.dump()
    assert bare.cells[0].key not in keys


def test_a_setting_of_the_attack_can_be_replaced_from_outside() -> None:
    changed = quick().changed({"attack.round": 2, "training.rate": 0.5})
    assert changed.attack == AttackSpec.read({"kind": "first-layer", "round": 2})
    assert changed.experiment.training.rate == 0.5


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"measure": "accuracy", "lesson": ""}, "measure is accuracy with an attack"),
        ({"attack": {"kind": "spear"}}, "attack.round"),
        ({"attack": {"kind": "spearr", "round": 1}}, "did you mean spear?"),
        (
            {"attack": {"kind": "single-out", "round": 1}, "columns": [{"label": "x"}]},
            "which neither rebuilds examples nor infers membership",
        ),
        ({"attack": {"kind": "first-layer", "round": 3}}, "attack.round is 3"),
        ({"attack": {"kind": "first-layer", "round": 1, "client": 4}}, "attack.client is 4"),
        ({"columns": [{"label": "x", "set": {"attack.rond": 2}}]}, "did you mean round?"),
        ({"lesson": ""}, "lesson, the expects of its rows or columns"),
        ({"columns": [{"label": "x", "expects": "leaks"}]}, "leave it to rows or to columns"),
        ({"lesson": "two\nlines"}, "lesson is"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(changed: dict[str, Any], words: str) -> None:
    assert words in refusal(lambda: quick(**changed))


def test_attack_settings_without_an_attack_are_refused() -> None:
    rows = [{"label": "x", "set": {"attack.round": 2}}]
    values = {"rows": rows, "columns": [{"label": "x"}]}
    assert "there is no attack" in refusal(lambda: Sweep.read(values))
    assert "measure is leak with no attack" in refusal(
        lambda: Sweep.read(values | {"measure": "leak"})
    )


@pytest.mark.parametrize("file", presets.leaks().values(), ids=lambda file: file.stem)
def test_every_preset_can_be_read_and_is_small(file: Path) -> None:
    read = Sweep.from_file(file)
    assert Sweep.from_toml(read.to_toml()) == read
    assert not [cell.refused for cell in read.cells if cell.refused]
    assert len(read.rows) * len(read.columns) <= 12
    assert read.title


# --- what is measured ---------------------------------------------------------------------------


def test_a_place_holds_what_the_attack_by_itself_finds(grid: SweepRuns) -> None:
    table = whole(grid)
    cell = grid.sweep.cells[0]
    assert cell.experiment is not None
    assert cell.attack is not None
    moment = next(run(cell.experiment))
    client = target_of(cell.attack, moment)
    *_, last = run_reconstruction(cell.attack.attack, moment, client)  # type: ignore[arg-type]
    assert last.score is not None
    entry = table.entries[0][0]
    assert entry.value == last.score.gain
    assert entry.leaks[0].client == client
    pictures = grid.pictures()[cell.key]
    assert torch.equal(pictures["guess"], last.pictures["guess"])


def test_an_attack_without_pictures_shows_its_words(grid: SweepRuns) -> None:
    entry = whole(grid).entries[0][2]
    assert entry.value is None
    assert entry.told() == "exact"


def test_what_cannot_be_attacked_is_refused_and_says_why(grid: SweepRuns) -> None:
    entry = whole(grid).entries[0][1]
    assert entry.word == "refused"
    assert "first-layer needs a model with a dense first layer" in entry.reason


def test_what_turns_out_to_be_nothing_is_refused_and_not_tried_again(store: Store) -> None:
    one = quick().experiment.changed({"training.clients_per_round": 1})
    (here,) = select_cohort(one, 1)
    away = (here + 1) % 4
    row = {"label": "away", "set": {"attack.client": away}, "expects": "leaks"}
    grid = SweepRuns(store, quick(experiment=one.dump(), rows=[row], columns=[{"label": "x"}]))
    entry = whole(grid).entries[0][0]
    assert (entry.word, grid.progress().finished) == ("refused", 1)
    assert f"client {away} sent nothing" in entry.reason
    assert lesson_of(grid.tally()).state == "open"


def test_the_same_sweep_again_runs_nothing(
    grid: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = whole(grid)
    monkeypatch.setattr(
        "lab.jobs.sweep_job.attacked_at_end", lambda *_: pytest.fail("it ran again")
    )
    assert whole(grid) == first
    later = SweepRuns(grid.store, quick(title="Other words", rows=[{"label": "bare"}], lesson=""))
    assert later.progress().finished == later.progress().total


def test_a_cell_that_was_interrupted_begins_its_attack_anew(grid: SweepRuns) -> None:
    grid.start()
    ledger = WorkerStore(grid.store)
    job = ledger.claim()
    assert job is not None
    assert job.aim
    steps = carry_out_cell(ledger, job)
    next(steps)
    steps.close()
    assert grid.store.job(job.id).status == "queued"
    whole(grid)
    assert [sight.number for sight in grid.store.sights(job.id)] == [1, 2]


def test_a_later_round_is_attacked_after_those_before_it() -> None:
    setting = quick().experiment
    *before, last = attacked_at_end(setting, AttackSpec.read({"kind": "first-layer", "round": 2}))
    assert before[0] is None
    assert last is not None
    assert last.result is not None
    assert last.result.round == 2
    moments = list(run(setting))
    told = last.result.declared["accuracy"]
    assert told.startswith(f"{moments[1].record.accuracy:.3f} after the round")


def test_a_malicious_server_plants_its_model() -> None:
    setting = quick().experiment.changed({"model.hidden": 64, "training.batch_size": 2})
    *_, last = attacked_at_end(setting, AttackSpec.read({"kind": "imprint", "round": 2}))
    assert last is not None
    assert last.result is not None
    assert last.result.attack == "imprint"


def test_the_target_is_drawn_by_the_seed_among_those_who_sent() -> None:
    order = AttackSpec.read({"kind": "first-layer", "round": 1})
    seeds = [Experiment.read(quick().experiment.dump() | {"seed": seed}) for seed in range(12)]
    drawn = [target_of(order, next(run(one))) for one in seeds]
    assert drawn == [target_of(order, next(run(one))) for one in seeds]
    assert len(set(drawn)) > 1
    named = AttackSpec.read({"kind": "first-layer", "round": 1, "client": 2})
    assert target_of(named, next(run(seeds[0]))) == 2


# --- lessons ------------------------------------------------------------------------------------

EXACT, PARTIAL, NOTHING = leak("exact", 90.0), leak(), leak("no better than a guess", 10.9)
WORDS = leak("no better than an even guess", None)


@pytest.mark.parametrize(
    ("found", "state", "told"),
    [
        ([EXACT, EXACT, NOTHING, WORDS], "borne out", "all 4 places"),
        ([PARTIAL, EXACT, NOTHING, WORDS], "not borne out", "3 of 4 places"),
        ([EXACT, EXACT, PARTIAL, WORDS], "not borne out", "3 of 4 places"),
        ([EXACT, EXACT, NOTHING, leak("partial: x", None)], "not borne out", "3 of 4"),
        ([EXACT, EXACT, NOTHING, None], "open", "3 of 6 places are measured"),
        ([EXACT, PARTIAL, None, None], "not borne out", "1 of 2 places"),
        ([None] * 4, "open", "0 of 6 places"),
    ],
)
def test_a_lesson_is_borne_out_by_what_was_measured(
    found: list[AttackSummary | None], state: str, told: str
) -> None:
    lesson = lesson_of(filled(quick(), found))
    assert lesson.state == state
    assert told in lesson.lines()[0]


def test_what_speaks_against_a_lesson_is_named_with_its_numbers() -> None:
    lesson = lesson_of(filled(quick(), [EXACT, EXACT, leak("partial: x", 12.0), WORDS]))
    assert lesson.lines()[1] == (
        "noise / first layer: expected stopped, found 12.0 dB, +2.0 over a guess: partial"
    )
    assert "2 could not be attacked" in lesson.lines()[0]
    assert "places of “noise” must be stopped: at most 1 dB over" in lesson.rule


@pytest.mark.parametrize(("median", "stopped"), [(11.0, True), (11.1, False)])
def test_one_decibel_over_the_best_guess_is_no_leak(median: float, stopped: bool) -> None:
    assert leak(median=median).stopped == stopped


def test_every_seed_must_bear_a_lesson_out() -> None:
    columns = [{"label": "first layer"}]
    both = quick(columns=columns, seeds=[0, 1])
    assert lesson_of(filled(both, [EXACT, EXACT, NOTHING, NOTHING])).state == "borne out"
    assert lesson_of(filled(both, [EXACT, EXACT, NOTHING, PARTIAL])).state == "not borne out"


def test_the_worst_of_a_row_is_the_largest_leak() -> None:
    table = filled(quick(), [PARTIAL, EXACT, NOTHING, WORDS])
    assert [entry.told() for entry in table.entries[0]] == ["+10.0 dB", "refused", "+80.0 dB"]
    assert table.worst[0].column == "labels"
    assert table.worst[1].column == "first layer"


# --- pictures, files, page ----------------------------------------------------------------------


def test_the_gallery_holds_every_place_and_nothing_unescaped(grid: SweepRuns) -> None:
    sweep = quick(rows=[{"label": "<b>a</b> & b", "expects": "leaks"}])
    table = whole(SweepRuns(grid.store, sweep))
    page = parsed(fragment(table, SweepRuns(grid.store, sweep).pictures()))
    assert page.texts["p"][0] == "<b>a</b> & b"
    assert len(page.of("figure")) == 3
    (picture,) = page.of("img")
    assert str(picture["src"]).startswith("data:image/png;base64,")
    assert picture["alt"] == "Private beside reconstructed: <b>a</b> & b, first layer"
    captions = page.texts["figcaption"]
    assert "over a guess" in captions[0]
    assert "● exact" in captions[0]
    assert "refused" in captions[1]
    assert "● exact" in captions[2]


def test_a_sweep_of_leaks_is_written_as_numbers_pictures_and_a_page(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "quick.toml"
    file.write_text(QUICK, encoding="utf-8")
    words = ["leaklab", "sweep", str(file), "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code in (None, 0)
    told = capsys.readouterr().out
    assert "Noise stops it." in told
    assert "The rule: places of “none” must be exact" in told
    out = tmp_path / "out"
    results = json.loads((out / "results.json").read_text())
    assert results["lesson"]["state"] in ("borne out", "not borne out")
    assert results["rows"][0]["cells"][0]["leaks"]["0"]["verdict"] == "exact"
    with (out / "runs.csv").open() as table:
        rows = list(csv.DictReader(table))
    assert [row["status"] for row in rows] == ["finished", "refused", "finished"] * 2
    assert float(rows[0]["median"]) > 60
    with Image.open(out / "leaks.png") as poster:
        assert poster.size[0] > 400
    page = parsed((out / "leaks.html").read_text())
    assert page.of("script") == []
    assert "borne out" in page.texts["p"][1].lower()


def test_the_report_of_nothing_yet_says_so() -> None:
    page = parsed(render_sweep(filled(quick(), [None] * 4)))
    assert page.texts["figcaption"].count("… waiting") == 4


def test_a_lesson_is_one_click_away(
    store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "leaks").mkdir()
    (tmp_path / "leaks" / "quick.toml").write_text(QUICK, encoding="utf-8")
    monkeypatch.setattr("lab.experiment.presets.FOLDER", tmp_path)
    app = opened("leaks")
    assert "Not measured yet" in app.info[0].value
    button(app, "Measure: Attack by defence")
    assert labels(app) == {"Stop: Attack by defence"}
    work_off(store)
    app.run()
    assert not app.exception
    assert labels(app) == set()
    told = words(app)
    assert "orne out" in told
    assert "The rule: places of “none” must be exact" in told
    assert "first-layer needs a model with a dense first layer" in told


def test_the_page_offers_every_preset() -> None:
    app = opened("leaks")
    found = {name: Sweep.from_file(path) for name, path in presets.leaks().items()}
    offered = set(app.selectbox[0].options)
    assert offered == {sweep.title for sweep in found.values() if not sweep.lesson}
    told = {one.value.removeprefix("#### ") for one in app.markdown}
    assert {sweep.lesson for sweep in found.values() if sweep.lesson} <= told


def test_a_raid_on_a_round_that_never_comes_is_refused() -> None:
    with pytest.raises(SettingError, match=r"attack\.round is 5"):
        deque(
            attacked_at_end(
                quick().experiment, AttackSpec.read({"kind": "first-layer", "round": 5})
            )
        )
