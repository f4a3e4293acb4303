"""Reports and exports: all that was recorded, nothing from anywhere else, and it reads back."""

from __future__ import annotations

import json
from base64 import b64decode
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lab import Experiment
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.engine.evaluation.record import RoundRecord
from lab.figures.example_images import contact_sheet, png
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.reports.html_report import render, write_report
from lab.reports.result_files import write_attack, write_run
from lab.scoring.attack_result import AttackResult
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.data import of_digits
from tests.support.html_pages import Page, parsed


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
    ledger = WorkerStore(store)
    smooth = of_digits(
        model__kind="lenet",
        training__rounds=2,
        training__steps=1,
        training__batch_size=1,
        data__partition="dirichlet",
    )
    run = finished(ledger, smooth)
    hospitals = {
        "data": {"source": "heart", "clients": 4, "partition": "natural"},
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


def finished(ledger: WorkerStore, experiment: Experiment) -> Job:
    job = ledger.start(experiment)
    deque(carry_out_run(ledger, job), maxlen=0)
    return ledger.store.run(job.id)


def attack(ledger: WorkerStore, run: Job, spy: dict[str, Any], client: int | None = None) -> Job:
    order = {**spy, "round": 1} | ({} if client is None else {"client": client})
    job = ledger.start_attack(run.id, AttackRequest.read(order))
    deque(carry_out_attack(ledger, job), maxlen=0)
    job = ledger.store.job(job.id)
    assert (job.status, job.message) == ("finished", "")
    return job


def pictures_of(store: Store, attack: Job) -> dict[str, Tensor]:
    """What the last glimpse of an attack showed."""
    return store.arrays.get(store.sights(attack.id)[-1].arrays)


@pytest.fixture(scope="module")
def page(done: Done) -> Page:
    return parsed(render(done.store, done.run.id))


# --- reports ------------------------------------------------------------------------------------


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
    assert drawings == 4 + 4  # of the run, and of its membership attack


def test_a_report_holds_the_experiment_and_how_to_repeat_it(done: Done, page: Page) -> None:
    toml, command = page.texts["pre"]
    assert toml == done.run.experiment.to_toml()
    assert Experiment.from_toml(toml) == done.run.experiment
    assert command == done.run.experiment.command()
    assert page.texts["h1"] == [done.run.experiment.title()]


def test_a_report_tells_every_attack_in_full(done: Done, page: Page) -> None:
    told = page.texts["td"]
    for job in (done.inversion, done.membership):
        lines = AttackResult.read(job.result).lines()
        assert len(lines) > 8
        assert [line for line in lines if line not in told] == []
    verdict = AttackResult.read(done.inversion.result).score
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
    assert [
        line for line in AttackResult.read(done.rows.result).lines() if line in page.texts["td"]
    ]


def test_a_hostile_message_is_shown_and_not_obeyed(store: Store) -> None:
    hostile = "<script>alert('x')</script><img src=http://example.com/x onerror=alert(1)>&amp;"
    ledger = WorkerStore(store)
    run = finished(ledger, of_digits(training__rounds=1, training__steps=1))
    RunCommands(store).resume(run.id)
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
        render(store, RunCommands(store).create(of_digits()))
    with pytest.raises(SettingError, match="no run 'nobody'"):
        render(store, "nobody")


def test_a_report_shows_who_is_malicious_in_the_round_it_shows(store: Store) -> None:
    experiment = of_digits(training__rounds=2, training__steps=1)
    run = finished(WorkerStore(store), experiment.changed_from(2, {"adversary.count": 2}))
    assert '"name":"malicious"' in render(store, run.id)


def test_a_report_is_written_as_it_is_rendered(done: Done, tmp_path: Path) -> None:
    write_report(done.store, done.table.id, tmp_path / "report.html")
    written = parsed((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert written.texts["pre"][0] == done.table.experiment.to_toml()
    with pytest.raises(SettingError, match="cannot be written"):
        write_report(done.store, done.table.id, tmp_path / "nowhere" / "report.html")


# --- exports ------------------------------------------------------------------------------------


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
    assert [RoundRecord.read(one) for one in records] == [each.record for each in stored]
    model = load_file(folder / "model.safetensors")
    assert list(model) == ["model"]
    assert torch.equal(model["model"], StoredRun(done.store, done.run.id).state().model)


@pytest.mark.parametrize("which", ["inversion", "membership", "rows"])
def test_an_exported_attack_reads_back(done: Done, tmp_path: Path, which: str) -> None:
    job: Job = getattr(done, which)
    write_attack(done.store, job, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert result == job.result
    assert AttackResult.read(result) == AttackResult.read(job.result)
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
    if which == "inversion":
        expected["sheet.png"] = contact_sheet(stored["private"], stored["guess"])
    assert {path.name: path.read_bytes() for path in tmp_path.glob("*.png")} == expected
    assert len(expected) == {"inversion": 3, "membership": 16, "rows": 0}[which]


def test_a_folder_that_cannot_be_made_is_named(done: Done, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    for write, job in ((write_run, done.run), (write_attack, done.inversion)):
        with pytest.raises(SettingError, match=r"--out .*file/below cannot be written"):
            write(done.store, job, tmp_path / "file" / "below")
