"""Stores of earlier versions: each stored sample opens, and everything in it goes on."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
import torch
from alembic.config import Config
from alembic.script import ScriptDirectory

from lab import ROOT, Experiment, run
from lab.engine.evaluation.record import RoundRecord
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.reports.html_report import render
from lab.scoring.attack_result import AttackResult
from lab.storage.database import EARLIER, VERSION, StoreError
from lab.storage.job import Job
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

SAMPLES = ROOT / "tests" / "samples"


@pytest.fixture(params=[*EARLIER, VERSION])
def sample(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A copy of the sample of one version, opened."""
    shutil.copytree(SAMPLES / f"store_v{request.param}", tmp_path / "store")
    return Store(f"sqlite:///{tmp_path / 'store' / 'leaklab.db'}")


def runs_of(store: Store) -> dict[str, Job]:
    """The finished runs, by their algorithm or codec."""
    finished = [job for job in store.runs() if job.status == "finished"]
    found = {job.experiment.training.algorithm.kind: job for job in finished}
    assert {"scaffold", "ditto", "fedavg"} <= found.keys()
    return found


def test_the_newest_step_leads_to_the_version_of_the_tables() -> None:
    settings = Config()
    folder = ROOT / "lab" / "storage" / "migrations"
    settings.set_main_option("script_location", str(folder))
    assert ScriptDirectory.from_config(settings).get_current_head() == VERSION


def test_experiments_are_read_with_their_changes(sample: Store) -> None:
    changed = runs_of(sample)["scaffold"].experiment
    assert [changed.at(round).aggregation.rule.kind for round in (1, 3)] == [
        "median",
        "trimmed-mean",
    ]
    assert [stage.kind for stage in changed.aggregation.pre_aggregators] == ["foolsgold"]
    kinds = [changed.at(round).adversary.attack.kind for round in (1, 3)]
    assert kinds == ["label-flip", "sign-flip"]
    assert changed.data.partition.dump() == {"kind": "dirichlet", "alpha": 0.5}


def test_a_finished_run_goes_on_to_the_records_that_it_has(sample: Store) -> None:
    """From its last checkpoint but one: what algorithm, codec and clients keep was carried over."""
    for job in runs_of(sample).values():
        stored = StoredRun(sample, job.id)
        state = stored.state(job.round - 1)
        (moment,) = run(job.experiment, state)
        expected = sample.rounds(job.id)[-1].record
        assert close(moment.record, expected), job.experiment.title()
        assert torch.allclose(moment.state.model, stored.state().model, atol=1e-4)


def close(one: RoundRecord, other: RoundRecord) -> bool:
    """Alike, as far as processors differ in rounding."""
    return one.arrived == other.arrived and abs(one.accuracy - other.accuracy) < 0.02


def test_results_have_their_scores(sample: Store) -> None:
    attacks = sample.attacks_on(runs_of(sample)["fedavg"].id)
    results = {job.order.attack.kind: AttackResult.read(job.result) for job in attacks}
    kinds = {name: result.score and result.score.kind for name, result in results.items()}
    assert kinds == {
        "first-layer": "images",
        "loss-threshold": "membership",
        "label-counts": "labels",
    }
    assert [extra.kind for extra in results["loss-threshold"].extras] == ["groups"]
    for job in attacks:
        score = results[job.order.attack.kind].score
        assert score
        if job.order.attack.kind != "loss-threshold":
            assert sample.sights(job.id)[-1].body["score"]["kind"] == score.kind


def test_a_run_is_reported_resumed_and_attacked_again(sample: Store) -> None:
    job = runs_of(sample)["fedavg"]
    assert "first-layer" in render(sample, job.id)
    assert sample.notes()
    (waiting,) = [one for one in sample.runs() if one.status == "queued"]
    ledger = WorkerStore(sample)
    claimed = ledger.claim()
    assert claimed is not None
    assert claimed.id == waiting.id
    assert len(list(carry_out_run(ledger, claimed))) == 3
    again = ledger.start_attack(job.id, sample.attacks_on(job.id)[0].order)
    list(carry_out_attack(ledger, again))
    assert sample.job(again.id).status == "finished"
    assert sample.watched(job.id)
    RunCommands(sample).branch(job.id, 1)


def test_an_upgrade_that_fails_leaves_the_store_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(SAMPLES / "store_v2", tmp_path / "store")
    path = tmp_path / "store" / "leaklab.db"
    before = dumped(path)
    with sqlite3.connect(path) as connection:
        connection.execute("update jobs set body = 'null' where kind = 'attack'")
    spoilt = dumped(path)
    assert spoilt != before
    with pytest.raises((StoreError, TypeError)):
        Store(f"sqlite:///{path}")
    assert dumped(path) == spoilt


def test_a_store_from_before_there_were_shadows_gets_their_table(tmp_path: Path) -> None:
    shutil.copytree(SAMPLES / "store_v2", tmp_path / "store")
    path = tmp_path / "store" / "leaklab.db"
    with sqlite3.connect(path) as connection:
        connection.execute("drop table shadows")
        connection.execute("drop table wishes")
    store = Store(f"sqlite:///{path}")
    store.stock.keep("a" * 64, torch.ones(3))
    assert torch.equal(store.stock.recall("a" * 64), torch.ones(3))


def dumped(path: Path) -> list[str]:
    with sqlite3.connect(path) as connection:
        return list(connection.iterdump())


def test_a_new_store_has_the_newest_version(store: Store) -> None:
    with sqlite3.connect(str(store.engine.url.database)) as connection:
        assert connection.execute("select version_num from alembic_version").fetchall() == [
            (VERSION,)
        ]


def test_old_keys_are_refused_with_the_new_ones() -> None:
    for tree, told in (
        ({"rule": "median"}, "rule is called aggregation.rule now"),
        ({"stages": ["nnm"]}, "stages is called aggregation.pre_aggregators now"),
        ({"data": {"split": "iid"}}, "data.split is called data.partition now"),
        ({"adversary": {"poison": "ipm"}}, "adversary.poison is called adversary.attack now"),
    ):
        with pytest.raises(ValueError, match=told.replace(".", r"\.")):
            Experiment.read(tree)
