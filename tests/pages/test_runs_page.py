"""The Runs page and its commands: search, compare, annotate, delete, and take everything along."""

from __future__ import annotations

import csv
import io
import json
import shlex
import zipfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from pyarrow import parquet

from lab import ROOT, cli
from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.figures.image_files import CHROMIUM, NEEDED
from lab.reports.bundle import MISSING, bundle, joint, zipped
from lab.reports.comparison import MOST, differences, outcome, sides
from lab.reports.html_report import render_comparison
from lab.reports.spreadsheets import FORMULA, columnar, comma_separated
from lab.scoring.attack_result import AttackResult
from lab.storage.database import DATABASE
from lab.storage.run_commands import LONGEST_NOTE, RunCommands
from lab.storage.store import Store
from tests.support.app_pages import attack, opened, trained
from tests.support.html_pages import parsed

TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4, "examples": 80},
        "training": {"rounds": 2, "steps": 1},
    }
)


@pytest.fixture
def two(store: Store) -> list[str]:
    """A plain run that was attacked, and a private one."""
    private = TINY.changed({"privacy.kind": "client", "seed": 1})
    found = [trained(store, experiment) for experiment in (TINY, private)]
    attack(store, found[0], "loss-threshold", round=2)
    return found


def leaklab(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr("sys.argv", ["leaklab", *words])
    try:
        cli.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


# --- everything of a run --------------------------------------------------------------------------


def test_every_format_has_the_same_records(store: Store, two: list[str]) -> None:
    files = bundle(store, store.run(two[1]))
    lines = [each.line() for each in store.rounds(two[1])]
    assert json.loads(files["records.json"]) == lines
    assert [json.loads(line) for line in files["records.jsonl"].splitlines()] == lines
    read = list(csv.DictReader(io.StringIO(files["records.csv"].decode())))
    assert [float(row["accuracy"]) for row in read] == [line["accuracy"] for line in lines]
    table = parquet.read_table(io.BytesIO(files["records.parquet"])).to_pylist()
    assert [row["epsilon"] for row in table] == [line["epsilon"] for line in lines]
    assert [json.loads(row["clients"]) for row in table] == [
        list(line["clients"]) for line in lines
    ]


def test_the_experiment_in_it_is_the_experiment(store: Store, two: list[str]) -> None:
    files = bundle(store, store.run(two[0]))
    assert Experiment.from_toml(files["experiment.toml"].decode()) == TINY
    (attack,) = json.loads(files["attacks.json"])
    assert attack["attack"] == "loss-threshold"
    assert b"loss-threshold" in files["report.html"]
    assert b'src="http' not in files["report.html"]


def test_the_notebook_runs_and_gives_the_same_numbers(
    store: Store, two: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    written = json.loads(bundle(store, store.run(two[0]))["notebook.ipynb"])
    assert (written["nbformat"], written["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in written["cells"]}) == len(written["cells"])
    names: dict[str, Any] = {}
    for cell in written["cells"]:
        if cell["cell_type"] == "code":
            exec(cell["source"], names)
    accuracies = [moment.record.accuracy for moment in names["moments"]]
    assert accuracies == [each.record.accuracy for each in store.rounds(two[0])]
    assert "round 2: accuracy" in capsys.readouterr().out
    (attacked,) = store.attacks_on(two[0])
    without = {"seconds": None}
    assert [each.dump() | without for each in names["results"]] == [
        AttackResult.read(attacked.result).dump() | without
    ]
    assert len(store.runs()) == 2


def test_the_commands_give_the_same_on_another_machine(
    store: Store, two: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In order and as they are written, where nobody knows the run's id."""
    monkeypatch.chdir(ROOT)
    elsewhere = f"sqlite:///{tmp_path / 'elsewhere.db'}"
    monkeypatch.setenv(DATABASE, elsewhere)
    there = Store(elsewhere)
    for run, attacks in zip(two, (1, 0), strict=True):
        commands = bundle(store, store.run(run))["command.txt"].decode().splitlines()
        assert len(commands) == 1 + attacks
        for command in commands:
            name, *words = shlex.split(command)
            assert (name, leaklab(monkeypatch, *words)) == ("leaklab", 0)
        again = there.runs()[0].id
        assert [each.record for each in there.rounds(again)] == [
            each.record for each in store.rounds(run)
        ]
        results = [
            [
                AttackResult.read(one.result).dump() | {"seconds": None}
                for one in every.attacks_on(id)
            ]
            for every, id in ((store, run), (there, again))
        ]
        assert results[0] == results[1]
    there.engine.dispose()


def test_the_newest_run_can_be_attacked_only_where_there_is_one(
    store: Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert leaklab(monkeypatch, "attack", "loss-threshold", "--run", "last") == 2
    assert "'last'" in capsys.readouterr().err
    RunCommands(store).create(TINY)
    assert leaklab(monkeypatch, "audit", "--run", "last") == 2
    assert "has finished no round yet, so there is nothing to audit" in capsys.readouterr().err


def test_the_archive_is_the_same_bytes_each_time(store: Store, two: list[str]) -> None:
    files = bundle(store, store.run(two[0])) | {"report.html": b""}  # figures have random ids
    again = bundle(store, store.run(two[0])) | {"report.html": b""}
    assert zipped(files) == zipped(again)
    with zipfile.ZipFile(io.BytesIO(zipped(files))) as archive:
        assert set(archive.namelist()) == set(files)
        first, second = archive.read("command.txt").decode().splitlines()
    assert first == TINY.command()
    assert second == "leaklab attack loss-threshold --run last --round 2"


def test_a_run_without_a_round_has_nothing_to_take_along(store: Store) -> None:
    with pytest.raises(SettingError, match="finished no round yet"):
        bundle(store, store.run(RunCommands(store).create(TINY)))


# --- beside each other ----------------------------------------------------------------------------


def test_only_what_differs_is_told() -> None:
    found = differences([TINY, TINY.changed({"seed": 3, "aggregation.rule": "median"})])
    assert found["seed"] == ["0", "3"]
    assert found["aggregation.rule.kind"] == ["mean", "median"] or found["aggregation.rule"] == [
        "mean",
        "median",
    ]
    assert "data.clients" not in found
    assert differences([TINY, TINY]) == {}


def test_sides_are_named_by_what_sets_them_apart(store: Store, two: list[str]) -> None:
    found = sides(store, [store.run(id) for id in two])
    assert all(id[:6] in side.name for id, side in zip(two, found, strict=True))
    assert "kind client" in found[1].name
    assert [len(side.leaks) for side in found] == [1, 0]
    assert outcome(found[0])["epsilon"] == "none"
    assert float(outcome(found[1])["epsilon"]) > 0
    page = render_comparison(found)
    assert "privacy.kind" in page
    assert 'src="http' not in page


def test_not_more_than_can_be_told_apart(store: Store, two: list[str]) -> None:
    assert len(sides(store, [store.run(two[0])] * (MOST + 3))) == MOST
    assert sides(store, [store.run(RunCommands(store).create(TINY))]) == []


def test_a_comparison_takes_everything_along(
    store: Store, two: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CHROMIUM, "/nowhere")
    files = joint(store, sides(store, [store.run(id) for id in two]))
    assert files[MISSING].decode().strip() == NEEDED
    lines = [{"run": id} | each.line() for id in two for each in store.rounds(id)]
    assert json.loads(files["records.json"]) == lines
    read = list(csv.DictReader(io.StringIO(files["records.csv"].decode())))
    assert [row["run"] for row in read] == [line["run"] for line in lines]
    table = parquet.read_table(io.BytesIO(files["records.parquet"])).to_pylist()
    assert [(row["run"], row["loss"]) for row in table] == [
        (line["run"], line["loss"]) for line in lines
    ]
    for id in two:
        text = files[f"experiments/{id}.toml"].decode()
        assert Experiment.from_toml(text) == store.run(id).experiment
    assert files["command.txt"].decode().splitlines() == [
        store.run(id).experiment.command() for id in two
    ]
    assert b"2 runs beside each other" in files["report.html"]
    names: dict[str, Any] = {}
    for cell in json.loads(files["notebook.ipynb"])["cells"]:
        if cell["cell_type"] == "code":
            exec(cell["source"], names)
    assert [list(records) for records in names["records"].values()] == [
        [each.record for each in store.rounds(id)] for id in two
    ]


def test_notebooks_are_valid(store: Store, two: list[str]) -> None:
    """As nbformat checks them.  It warns of what it would mend, and a warning is an error here."""
    both = joint(store, sides(store, [store.run(id) for id in two]))
    for files in (*(bundle(store, store.run(id)) for id in two), both):
        written = json.loads(files["notebook.ipynb"])
        nbformat.validate(written, relax_add_props=False)
        assert written == json.loads(files["notebook.ipynb"])  # nothing was mended


# --- words of users -------------------------------------------------------------------------------


def test_a_note_in_an_export_is_shown_and_not_obeyed(
    store: Store, two: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hostile = '=HYPERLINK("http://x.org") <script>alert(1)</script>\n\n![x](http://x.org/x.png)'
    monkeypatch.setenv(CHROMIUM, "/nowhere")
    RunCommands(store).annotate(two[0], hostile)
    for files in (
        bundle(store, store.run(two[0])),
        joint(store, sides(store, [store.run(id) for id in two])),
    ):
        page = parsed(files["report.html"].decode())
        assert any(hostile in text for tag in ("p", "td") for text in page.texts[tag])
        assert all(str(image["src"]).startswith("data:") for image in page.of("img"))
        assert hostile not in files["report.html"].decode()
        words = json.loads(files["notebook.ipynb"])["cells"][0]["source"]
        assert "<script>" not in words
        assert hostile in parsed(words).texts["pre"]  # in which Markdown means nothing
    (row, other) = csv.DictReader(io.StringIO(files["runs.csv"].decode()))
    assert (row["note"], other["note"]) == (f"'{hostile}", "")


@pytest.mark.parametrize("first", FORMULA)
def test_no_text_in_a_sheet_is_a_formula(first: str) -> None:
    rows = [{"words": f"{first}1+1", "number": -1.5, "plain": "a=b"}]
    (read,) = csv.DictReader(io.StringIO(comma_separated(rows).decode(), newline=""))
    assert read == {"words": f"'{first}1+1", "number": "-1.5", "plain": "a=b"}
    assert parquet.read_table(io.BytesIO(columnar(rows))).to_pylist() == rows


# --- notes ----------------------------------------------------------------------------------------


def test_a_note_is_kept_replaced_and_taken_away(store: Store, two: list[str]) -> None:
    RunCommands(store).annotate(two[0], " the first try ")
    RunCommands(store).annotate(two[0], "the best <b>try</b>")
    assert store.notes() == {two[0]: "the best <b>try</b>"}
    with pytest.raises(SettingError, match="note has 2001 letters: give 2000 at most"):
        RunCommands(store).annotate(two[0], "x" * (LONGEST_NOTE + 1))
    RunCommands(store).annotate(two[0], "")
    assert store.notes() == {}
    with pytest.raises(SettingError):
        RunCommands(store).annotate("nobody", "x")


# --- the command line -----------------------------------------------------------------------------


def test_the_same_from_the_command_line(
    store: Store,
    two: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(CHROMIUM, "/nowhere")
    assert leaklab(monkeypatch, "export", two[0], "--out", str(tmp_path / "all")) == 0
    assert (tmp_path / "all" / "records.parquet").stat().st_size > 100
    assert (tmp_path / "all" / MISSING).exists()
    assert NEEDED in capsys.readouterr().err
    assert leaklab(monkeypatch, "compare", *two, "--out", str(tmp_path / "both")) == 0
    assert (tmp_path / "both" / "experiments" / f"{two[1]}.toml").exists()
    page = tmp_path / "two.html"
    assert leaklab(monkeypatch, "compare", *two, "-o", str(page)) == 0
    assert "privacy.kind" in capsys.readouterr().out
    assert "2 runs beside each other" in page.read_text(encoding="utf-8")
    assert leaklab(monkeypatch, "compare", two[0]) == 2
    assert leaklab(monkeypatch, "note", two[0], "keep") == 0
    capsys.readouterr()
    assert leaklab(monkeypatch, "runs", "--json") == 0
    assert "keep" in [one["note"] for one in json.loads(capsys.readouterr().out)]
    assert leaklab(monkeypatch, "delete", two[0], "nonsense") == 2
    assert len(store.runs()) == 2
    assert leaklab(monkeypatch, "delete", two[0]) == 0
    assert [job.id for job in store.runs()] == [two[1]]


# --- the page -------------------------------------------------------------------------------------


def test_a_search_finds_by_title_id_and_note(store: Store, two: list[str]) -> None:
    RunCommands(store).annotate(two[0], "my favourite")
    app = opened("runs")
    assert len(app.dataframe[0].value) == 2
    for words, left in (("favourite digits", two[0]), ("client-level", two[1]), (two[1], two[1])):
        app.text_input[0].set_value(words).run()
        assert not app.exception
        assert list(app.dataframe[0].value["run"]) == [left]


def test_an_empty_lab_says_where_to_start() -> None:
    assert "start one on the Live page" in opened("runs").info[0].value
