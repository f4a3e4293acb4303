"""Sweeps in the store: no run twice, none by two workers, nothing lost, and the command."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from lab import ROOT, Experiment, run
from lab.cli import main
from lab.figures.image_files import CHROMIUM, NEEDED
from lab.jobs.local_sweep import run_sweep_locally
from lab.jobs.sweep_job import carry_out_cell
from lab.reports.bundle import MISSING, swept
from lab.storage.database import jobs, writing
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.worker_store import DEATHS, LeaseLostError, WorkerStore
from lab.sweeps.sweep import Sweep
from tests.support.sweep_cells import ALL, only, whole
from tests.support.sweeps import GRID


@pytest.fixture
def grid(store: Store) -> SweepRuns:
    return SweepRuns(store, Sweep.from_toml(GRID))


Captured = pytest.CaptureFixture[str]


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """What is run from now on."""
    seen: list[Experiment] = []

    def counted(experiment: Experiment) -> Iterator[Any]:
        seen.append(experiment)
        yield from run(experiment)

    monkeypatch.setattr("lab.jobs.sweep_job.run", counted)
    return seen


def leaklab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["leaklab", *words])
    try:
        main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


# --- what is measured -----------------------------------------------------------------------------


def test_a_sweep_holds_what_the_engine_gives(grid: SweepRuns) -> None:
    assert whole(grid) == ALL
    for key, experiment in grid.sweep.experiments.items():
        moments = list(run(experiment))
        assert grid.outcomes()[key].accuracy == tuple(m.record.accuracy for m in moments)
    flipped = grid.tally().entries[0][1]
    last = [list(run(cell.experiment))[-1] for cell in grid.sweep.cells[2:4] if cell.experiment]
    assert list(flipped.seeds.values()) == [moment.record.accuracy for moment in last]


def test_only_measures_are_stored(grid: SweepRuns) -> None:
    whole(grid)
    assert not grid.store.arrays.folder.exists() or not list(grid.store.arrays.folder.rglob("*.*"))
    assert grid.store.runs() == []


def test_a_backdoor_is_measured_too(grid: SweepRuns) -> None:
    columns = [
        {"label": "x", "set": {"adversary.count": 2, "adversary.attack.kind": "backdoor"}},
        {"label": "none"},
    ]
    backdoor = only(grid, measure="backdoor", columns=columns, seeds=[0])
    whole(backdoor)
    table = backdoor.tally()
    (key,) = {cell.key for cell in backdoor.sweep.cells if cell.place == (0, 0, 0, 0)}
    moments = list(run(backdoor.sweep.experiments[key]))
    assert table.entries[0][0].value == moments[-1].record.backdoor
    assert table.entries[0][1].word == "refused"
    assert table.worst[0].column == "x"


def test_a_run_that_its_budget_ends_keeps_what_it_measured(grid: SweepRuns) -> None:
    private = {"kind": "client", "noise": 1.0, "epsilon": 6.0, "stop": True}
    rows = [{"label": "private", "set": {"privacy": private, "training.rounds": 50}}]
    tight = only(grid, rows=rows, seeds=[0], columns=[{"label": "x"}])
    assert whole(tight).finished == 1
    (outcome,) = tight.outcomes().values()
    assert 0 < len(outcome.accuracy) < 50
    assert "epsilon" in outcome.message


# --- nothing twice --------------------------------------------------------------------------------


def test_the_same_sweep_again_runs_nothing(grid: SweepRuns, ran: list[Experiment]) -> None:
    whole(grid)
    assert len(ran) == 8
    assert list(run_sweep_locally(grid, 1)) == [ALL]
    assert len(ran) == 8


def test_sweeps_share_what_they_have_in_common(grid: SweepRuns, ran: list[Experiment]) -> None:
    whole(only(grid, seeds=[0]))
    assert len(ran) == 4
    whole(grid)
    assert len(ran) == 8
    assert {one.seed for one in ran[4:]} == {1}


def test_a_sweep_that_was_stopped_runs_only_what_is_missing(
    grid: SweepRuns, ran: list[Experiment]
) -> None:
    steps = run_sweep_locally(grid, 1)
    next(one for one in steps if one.finished == 3)
    steps.close()
    stopped = grid.progress()
    assert (stopped.finished, stopped.open, stopped.stopped) == (3, 0, 5)
    begun = len(ran)
    assert whole(grid) == ALL
    assert len(ran) - begun == 5


def test_two_workers_never_have_the_same_cell(grid: SweepRuns) -> None:
    grid.start()
    claimed = [WorkerStore(grid.store).claim() for _ in range(9)]
    assert sorted(job.id for job in claimed if job) == sorted(grid.keys)
    assert claimed[-1] is None


def test_who_starts_twice_queues_once(grid: SweepRuns) -> None:
    grid.start()
    taken = WorkerStore(grid.store).claim()
    assert taken is not None
    grid.start()
    SweepRuns(Store(grid.store.url), grid.sweep).start()
    assert grid.progress().open == 8
    assert grid.store.job(taken.id).status == "running"


def test_other_numbers_make_other_keys(grid: SweepRuns, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lab.sweeps.sweep.NUMBERS", 10**6)
    assert not set(Sweep.from_toml(GRID).experiments) & set(grid.keys)


# --- what goes wrong ------------------------------------------------------------------------------


def test_the_cell_of_a_dead_worker_goes_to_another(grid: SweepRuns) -> None:
    grid.start()
    dead, living = WorkerStore(grid.store), WorkerStore(grid.store)
    taken = dead.claim()
    assert taken is not None
    dead.abandon(dead.worker)
    again = living.claim(taken.id)
    assert again is not None
    list(carry_out_cell(living, again))
    found = grid.outcomes()[taken.id]
    assert found.status == "finished"
    with pytest.raises(LeaseLostError):
        dead.note(taken, {"accuracy": [0.0]})
    list(carry_out_cell(dead, taken))
    assert grid.outcomes()[taken.id] == found


def test_a_cell_that_kills_its_workers_is_given_up_and_the_rest_goes_on(grid: SweepRuns) -> None:
    grid.start()
    key = grid.keys[2]
    for _ in range(DEATHS):
        ledger = WorkerStore(grid.store)
        assert ledger.claim(key) is not None
        ledger.abandon(ledger.worker)
    *_, last = run_sweep_locally(grid, 1)
    assert (last.finished, last.failed) == (7, 1)
    assert "workers died" in grid.outcomes()[key].message


def test_an_error_of_ours_is_shown_and_the_next_call_tries_again(
    grid: SweepRuns, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    def broken(experiment: Experiment) -> Iterator[Any]:
        if experiment.aggregation.rule.kind == "krum":
            raise RuntimeError("a wire came loose")
        yield from run(experiment)

    with monkeypatch.context() as patch:
        patch.setattr("lab.jobs.sweep_job.run", broken)
        last = whole(grid)
    assert (last.finished, last.failed) == (4, 4)
    assert grid.tally().worst[1].reason == "RuntimeError: a wire came loose"
    assert "a wire came loose" in capsys.readouterr().err
    assert whole(grid) == ALL


def test_data_that_are_not_there_are_told_in_the_table(
    grid: SweepRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lab.common.settings import SettingError

    def absent(_: Experiment) -> Iterator[Any]:
        raise SettingError("digits are not here: pip install scikit-learn")

    monkeypatch.setattr("lab.jobs.sweep_job.run", absent)
    assert whole(grid).failed == 8
    assert "pip install" in grid.tally().reasons()[0]


def test_what_somebody_calls_off_another_may_still_want(grid: SweepRuns) -> None:
    mine, theirs = run_sweep_locally(grid, 1), only(grid, seeds=[1])
    next(mine)
    theirs.start()
    theirs.cancel()
    assert grid.progress().stopped == 4
    *_, last = mine
    assert last == ALL


def test_calling_off_leaves_what_is_at_work_and_what_others_queued(grid: SweepRuns) -> None:
    other = only(grid, seeds=[2])
    grid.start()
    other.start()
    taken = WorkerStore(grid.store).claim(grid.keys[0])
    assert taken is not None
    grid.cancel()
    assert grid.progress().open == 1
    assert other.progress().open == 4


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "grid.toml"
    path.write_text(GRID)
    return str(path)


def test_the_table_has_every_place_and_the_worst_of_each_row(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured, grid: SweepRuns
) -> None:
    assert leaklab(monkeypatch, "sweep", file) == 0
    told = capsys.readouterr().out
    table = grid.tally()
    lines = [line.split() for line in told.splitlines()]
    assert lines[0] == ["none", "flip", "worst"]
    for row, worst, line in zip(table.entries, table.worst, lines[1:], strict=False):
        assert line == [row[0].row, *(entry.told() for entry in row), worst.told()]
    assert table.caption() in told


def test_json_and_files_hold_the_same_numbers(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured, tmp_path: Path, grid: SweepRuns
) -> None:
    out = tmp_path / "out"
    monkeypatch.setenv(CHROMIUM, "/nowhere")
    assert leaklab(monkeypatch, "sweep", file, "--json", "--out", str(out)) == 0
    printed = capsys.readouterr()
    assert NEEDED in printed.err
    assert NEEDED in (out / MISSING).read_text()
    told = json.loads(printed.out)
    assert told == json.loads((out / "results.json").read_text())
    values = [[cell["value"] for cell in row["cells"]] for row in told["rows"]]
    assert values == [[entry.value for entry in row] for row in grid.tally().entries]
    assert [row["worst"]["value"] for row in told["rows"]] == [min(row) for row in values]
    with (out / "runs.csv").open(newline="") as lines:
        runs = list(csv.DictReader(lines))
    assert [run["seed"] for run in runs] == ["0", "1"] * 4
    assert float(runs[3]["accuracy"]) == told["rows"][0]["cells"][1]["seeds"]["1"]
    assert Sweep.from_file(out / "sweep.toml") == grid.sweep
    assert "plotly" in (out / "heat.html").read_text()


@pytest.mark.browser
def test_its_figure_is_written_for_print_and_slides(
    monkeypatch: pytest.MonkeyPatch, file: str, grid: SweepRuns, tmp_path: Path
) -> None:
    assert leaklab(monkeypatch, "sweep", file, "--out", str(tmp_path / "out")) == 0
    folder = tmp_path / "out" / "figures"
    assert {path.name for path in folder.iterdir()} == {"heat.svg", "heat.png"}
    assert ">Krum</text>" in (folder / "heat.svg").read_text()
    assert {f"figures/{path.name}" for path in folder.iterdir()} < set(swept(grid))


def test_settings_replace_those_of_the_file(
    monkeypatch: pytest.MonkeyPatch, file: str, ran: list[Experiment]
) -> None:
    assert leaklab(monkeypatch, "sweep", file, "-s", "training.rounds=1") == 0
    assert {experiment.training.rounds for experiment in ran} == {1}


def test_refusals_are_told_below_a_table_that_is_as_wide_as_it_must_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Captured
) -> None:
    columns = "".join(
        f'[[columns]]\nlabel = "a fairly long label {n}"\nset = {{ "adversary.count" = {n} }}\n'
        for n in range(7)
    )
    path = tmp_path / "wide.toml"
    path.write_text(GRID.split("[[columns]]")[0].replace("[0, 1]", "[0]") + columns)
    assert leaklab(monkeypatch, "sweep", str(path), "-s", "training.rounds=1") == 0
    told = capsys.readouterr().out
    head, of_mean, _, *rest = told.splitlines()
    assert len(re.findall("label", head)) == 7
    assert len(re.findall("%", of_mean)) == 7  # six places and the worst
    assert "refused" in of_mean
    assert "a fairly long label 6: refused: adversary.count is 6, more than" in "\n".join(rest)


def test_a_failed_cell_ends_with_another_exit_code(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured
) -> None:
    def broken(_: Experiment) -> Iterator[Any]:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr("lab.jobs.sweep_job.run", broken)
    assert leaklab(monkeypatch, "sweep", file) == 1
    assert "failed: RuntimeError: a wire came loose" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["sweep", "nofile.toml"], "nofile.toml cannot be read"),
        (["sweep", "experiments/default.toml"], "default.toml: seed is not a setting"),
        (["sweep", "FILE", "-s", "aggregation.rule.kind=krun"], "did you mean krum"),
        (["sweep", "FILE", "-s", "data.clients=1"], "data.clients is 1"),
    ],
)
def test_bad_input_ends_with_exit_code_2_and_a_remedy(
    monkeypatch: pytest.MonkeyPatch, file: str, capsys: Captured, words: list[str], told: str
) -> None:
    monkeypatch.chdir(ROOT)
    assert leaklab(monkeypatch, *[file if word == "FILE" else word for word in words]) == 2
    assert told in capsys.readouterr().err


def test_a_cell_is_no_run_that_could_be_shown(
    monkeypatch: pytest.MonkeyPatch, grid: SweepRuns, capsys: Captured
) -> None:
    grid.start()
    assert leaklab(monkeypatch, "show", grid.keys[0]) == 2
    assert "is a cell of a sweep, not a run" in capsys.readouterr().err


def test_a_cell_that_is_handed_back_is_whole_again(grid: SweepRuns) -> None:
    """Interrupted in mid-run: it waits anew, and nothing of the first attempt is left."""
    grid.start()
    ledger = WorkerStore(grid.store)
    job = ledger.claim()
    assert job is not None
    rounds = carry_out_cell(ledger, job)
    next(rounds)
    rounds.close()
    assert grid.store.job(job.id).status == "queued"
    assert grid.store.job(job.id).result is None
    with writing(grid.store.engine) as connection:
        stop = update(jobs).where(jobs.c.id != job.id).values(status="stopped")
        connection.execute(stop)
    again = ledger.claim()
    assert again is not None
    assert again.id == job.id
