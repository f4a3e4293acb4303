"""The store: nothing is lost, nothing half-written, and two workers never write the same run."""

from __future__ import annotations

import shlex
import sqlite3
import time
from pathlib import Path

import pytest
import torch
from sqlalchemy import update

from lab import Experiment, run
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.catalog import table
from lab.common.settings import SettingError
from lab.common.settings_text import parse_pairs
from lab.jobs.run_job import carry_out_run
from lab.storage.database import VERSION, StoreError, jobs, writing
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import DEATHS, LeaseLostError, WorkerStore

TINY = Experiment.read(
    {"data": {"source": "digits", "clients": 4}, "training": {"rounds": 3, "batch_size": 64}}
)


def finished(store: Store, experiment: Experiment = TINY) -> str:
    ledger = WorkerStore(store)
    job = ledger.start(experiment)
    list(carry_out_run(ledger, job))
    return job.id


def expire(store: Store, id: str) -> None:
    """Let the lease run out, as if the worker had died."""
    with writing(store.engine) as connection:
        connection.execute(update(jobs).where(jobs.c.id == id).values(lease=time.time() - 1))


# --- what goes in comes out ---------------------------------------------------------------------


def test_a_stored_run_holds_what_the_engine_gave(store: Store) -> None:
    id, moments = finished(store), list(run(TINY))
    assert [each.record for each in store.rounds(id)] == [moment.record for moment in moments]
    assert torch.equal(StoredRun(store, id).state().model, moments[-1].state.model)
    assert torch.equal(StoredRun(store, id).state(1).model, moments[0].state.model)
    assert StoredRun(store, id).state(0).round == 0
    assert store.job(id).experiment == TINY
    assert store.job(id).status == "finished"


def test_only_rounds_later_than_asked_come_back(store: Store) -> None:
    id = finished(store)
    assert [each.record.round for each in store.rounds(id, after=1)] == [2, 3]
    assert store.rounds(id, after=3) == []


def test_a_second_process_sees_the_same(store: Store) -> None:
    id = finished(store)
    assert Store(store.url).rounds(id) == store.rounds(id)


def test_ids_cannot_be_guessed(store: Store) -> None:
    ids = {RunCommands(store).create(TINY) for _ in range(20)}
    assert len(ids) == 20
    assert all(len(id) == 16 for id in ids)


def test_the_newest_run_comes_first(store: Store) -> None:
    ids = [RunCommands(store).create(TINY) for _ in range(3)]
    assert [job.id for job in store.runs()] == ids[::-1]


@pytest.mark.parametrize("kind", [*table("privacy-attacks"), *table("audits")])
def test_the_command_of_an_order_says_its_settings_as_they_are_read(kind: str) -> None:
    usual = AttackRequest.read({"kind": kind, "round": 1}).attack
    turned = {name: not value for name, value in usual if isinstance(value, bool)}
    order = AttackRequest.read({"kind": kind, **turned, "round": 1})
    words = shlex.split(order.command("last"))
    told = parse_pairs(words[k + 1] for k, word in enumerate(words) if word == "-s")
    assert AttackRequest.read({"kind": kind, **told, "round": 1}) == order


# --- bad input ----------------------------------------------------------------------------------


def test_an_unknown_run_is_named(store: Store) -> None:
    with pytest.raises(SettingError, match="no run 'nobody'"):
        store.run("nobody")


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"kind": "idlg", "round": 9}, "round is 9: the run has finished 3 rounds"),
        ({"kind": "idlg", "round": 1, "client": 7}, "client is 7: give 0 to 3"),
        ({"kind": "first-layer", "round": 1}, "begins with a convolution"),
    ],
)
def test_an_attack_that_cannot_be_is_refused_at_once(
    store: Store, order: dict[str, object], words: str
) -> None:
    id = finished(store, TINY.changed({"model.kind": "lenet"}))
    with pytest.raises(SettingError, match=words):
        RunCommands(store).attack(id, AttackRequest.read(order))
    assert store.attacks_on(id) == []


def test_a_store_of_another_version_says_what_to_do(store: Store, store_url: str) -> None:
    with sqlite3.connect(str(store.engine.url.database)) as connection:
        connection.execute("update alembic_version set version_num = '99'")
    with pytest.raises(StoreError, match=f"version 99 and this Leaklab reads version {VERSION}"):
        Store(store_url)


def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("these are my notes, not a database\n" * 100)
    with pytest.raises(StoreError, match=r"cannot be used.*set LEAKLAB_DB to another"):
        Store(f"sqlite:///{path}")
    assert path.read_text().startswith("these are my notes")


@pytest.mark.parametrize("url", ["nonsense", "sqlite:////proc/nowhere/x.db", "oracle://x/y"])
def test_an_unusable_address_is_refused_in_words(url: str) -> None:
    with pytest.raises(StoreError, match="cannot be used"):
        Store(url)


def test_a_password_never_shows_in_an_error() -> None:
    with pytest.raises(StoreError) as caught:
        Store("postgresql+nosuchdriver://me:secret@localhost/x")
    assert "secret" not in str(caught.value)


# --- arrays -------------------------------------------------------------------------------------


def test_equal_arrays_are_kept_once(store: Store) -> None:
    one, other = (store.arrays.put({"model": torch.arange(5.0)}) for _ in range(2))
    assert one == other
    assert len(list(store.arrays.folder.rglob("*.safetensors"))) == 1


def test_a_changed_or_missing_file_is_noticed(store: Store) -> None:
    digest = store.arrays.put({"model": torch.arange(5.0)})
    (path,) = store.arrays.folder.rglob("*.safetensors")
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(SettingError, match="was changed"):
        store.arrays.get(digest)
    path.unlink()
    with pytest.raises(SettingError, match="cannot be read"):
        store.arrays.get(digest)


def test_a_digest_is_never_a_path(store: Store) -> None:
    with pytest.raises(SettingError, match="is no digest"):
        store.arrays.get("../../etc/passwd")


# --- commands -----------------------------------------------------------------------------------


def test_pause_step_and_resume(store: Store) -> None:
    ledger, id = WorkerStore(store), RunCommands(store).create(TINY, rounds=1)
    job = ledger.claim()
    assert job is not None
    list(carry_out_run(ledger, job))
    assert (store.job(id).status, store.job(id).round) == ("paused", 1)
    RunCommands(store).resume(id, rounds=1)
    job = ledger.claim()
    assert job is not None
    list(carry_out_run(ledger, job))
    assert (store.job(id).status, store.job(id).round) == ("paused", 2)
    RunCommands(store).resume(id)
    job = ledger.claim()
    assert job is not None
    list(carry_out_run(ledger, job))
    assert store.job(id).status == "finished"
    assert [each.record for each in store.rounds(id)] == [m.record for m in run(TINY)]


def test_a_running_run_pauses_after_the_present_round(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(TINY)
    rounds = carry_out_run(ledger, job)
    next(rounds)
    RunCommands(store).pause(job.id)
    assert list(rounds) == []
    assert (store.job(job.id).status, store.job(job.id).round) == ("paused", 1)


def test_a_queued_run_pauses_and_stops_at_once(store: Store) -> None:
    id = RunCommands(store).create(TINY)
    RunCommands(store).pause(id)
    assert store.job(id).status == "paused"
    assert WorkerStore(store).claim() is None
    RunCommands(store).stop(id)
    assert store.job(id).status == "stopped"


def test_a_change_in_mid_run_holds_from_the_next_round_and_is_written_down(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(TINY)
    rounds = carry_out_run(ledger, job)
    next(rounds)
    RunCommands(store).change(job.id, {"aggregation.rule.kind": "median"})
    assert store.intended(job.id).aggregation.rule.kind == "median"
    list(rounds)
    changed = TINY.changed_from(2, {"aggregation.rule.kind": "median"})
    assert store.job(job.id).experiment == changed
    assert [each.record for each in store.rounds(job.id)] == [m.record for m in run(changed)]


def test_a_change_of_a_paused_run_needs_no_worker(store: Store) -> None:
    id = RunCommands(store).create(TINY)
    RunCommands(store).pause(id)
    RunCommands(store).change(id, {"training.rate": 0.3})
    assert store.job(id).experiment.training.rate == 0.3


@pytest.mark.parametrize(
    "settings", [{"data.clients": 3}, {"training.rate": -1}, {"aggregation.rule": "x"}]
)
def test_a_change_that_a_run_cannot_make_is_refused_and_changes_nothing(
    store: Store, settings: dict[str, object]
) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(TINY)
    next(carry_out_run(ledger, job))
    with pytest.raises(SettingError):
        RunCommands(store).change(job.id, settings)
    assert ledger.commands(job) == []


# --- leases -------------------------------------------------------------------------------------


def test_jobs_are_taken_in_turn_and_by_one_worker_each(store: Store) -> None:
    ids = [RunCommands(store).create(TINY) for _ in range(3)]
    assert [store.place(id) for id in ids] == [0, 1, 2]
    claimed = [WorkerStore(store).claim() for _ in range(4)]
    assert [job.id if job else None for job in claimed] == [*ids, None]


def test_a_worker_that_lost_its_lease_writes_nothing(store: Store) -> None:
    slow, quick = WorkerStore(store), WorkerStore(store)
    job = slow.start(TINY)
    expire(store, job.id)
    taken = quick.claim()
    assert taken is not None
    list(carry_out_run(quick, taken))
    with pytest.raises(LeaseLostError):
        slow.finish_round(job, next(run(TINY)), 0.1)
    with pytest.raises(LeaseLostError):
        slow.settle(job, "failed")
    assert store.job(job.id).status == "finished"
    assert len(store.rounds(job.id)) == 3


def test_a_living_worker_keeps_its_job(store: Store) -> None:
    WorkerStore(store).start(TINY)
    assert WorkerStore(store).claim() is None


def test_a_job_that_kills_its_workers_is_given_up(store: Store) -> None:
    id = RunCommands(store).create(TINY)
    for _ in range(DEATHS):
        assert WorkerStore(store).claim() is not None
        expire(store, id)
    assert WorkerStore(store).claim() is None
    assert store.job(id).status == "failed"
    assert "workers died over round 1" in store.job(id).message


def test_interrupting_a_run_leaves_it_to_be_resumed(store: Store) -> None:
    ledger = WorkerStore(store)
    job = ledger.start(TINY)
    rounds = carry_out_run(ledger, job)
    next(rounds)
    rounds.close()  # type: ignore[attr-defined]
    assert (store.job(job.id).status, store.job(job.id).round) == ("paused", 1)


def test_an_error_of_ours_is_written_beside_the_run_and_travels(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a wire came loose")

    monkeypatch.setattr("lab.engine.round.measure", broken)
    ledger = WorkerStore(store)
    job = ledger.start(TINY)
    with pytest.raises(RuntimeError, match="a wire came loose"):
        list(carry_out_run(ledger, job))
    assert store.job(job.id).status == "failed"
    assert store.job(job.id).message == "RuntimeError: a wire came loose"
