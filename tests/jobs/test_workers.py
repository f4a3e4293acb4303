"""Workers: processes that outlive pages and server, and runs that outlive workers."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from lab import Experiment, run
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.jobs.run_job import carry_out_run
from lab.jobs.supervisor import Supervisor
from lab.jobs.worker_settings import most_workers
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

# Long enough to be caught in mid-run.
LONG = Experiment.read(
    {
        "data": {"source": "fashion-mnist", "clients": 10, "examples": 1200},
        "model": {"kind": "cnn"},
        "training": {"rounds": 8},
    }
)
PATIENCE = 90.0  # seconds, on a machine that is busy with other things


def wait_for(true: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


@contextmanager
def supervised(store: Store, most: int = 1, patience: float = PATIENCE) -> Iterator[Supervisor]:
    """Workers that do not outlive the test."""
    supervisor = Supervisor(store, most, patience=patience)
    try:
        yield supervisor
    finally:
        supervisor.close()
        for worker in supervisor.workers():
            worker.kill()
            worker.wait()


@pytest.fixture(scope="module")
def staffed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A store with a worker, for tests that leave it alive."""
    folder = tmp_path_factory.mktemp("staffed")
    store = Store(f"sqlite:///{folder / 'store' / 'leaklab.db'}")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(folder / "data"))
        with supervised(store):
            yield store
    store.engine.dispose()


@pytest.fixture
def served(staffed: Store) -> Iterator[Store]:
    """The store with a worker that has nothing to do yet, and nothing afterwards."""
    yield staffed
    runs = staffed.runs()
    jobs = [*runs, *(attack for run in runs for attack in staffed.attacks_on(run.id))]
    for job in jobs:
        if job.active:
            RunCommands(staffed).stop(job.id)
    wait_for(lambda: not any(staffed.job(job.id).active for job in jobs))


def test_a_run_survives_the_death_of_its_worker(store: Store) -> None:
    """SIGKILL in mid-run: it ends with the same records as an undisturbed one."""
    with supervised(store) as supervisor:
        id = RunCommands(store).create(LONG)
        wait_for(lambda: store.job(id).round >= 2)
        (worker,) = supervisor.workers()
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait()
        assert store.job(id).round < 8, "the run was over before the worker was killed"
        wait_for(lambda: store.job(id).status == "finished")
        (successor,) = supervisor.workers()
        assert successor.pid != worker.pid
    assert [each.record for each in store.rounds(id)] == [m.record for m in run(LONG)]


def test_a_worker_outlives_the_server(store: Store) -> None:
    supervisor = Supervisor(store, 1)
    id = RunCommands(store).create(LONG)
    wait_for(lambda: store.job(id).round >= 1)
    supervisor.close()
    (worker,) = supervisor.workers()
    try:
        before = store.job(id).round
        wait_for(lambda: store.job(id).round > before)
        with supervised(store) as restarted:  # sees the other's worker, and starts none beside it
            time.sleep(0.5)
            assert restarted.workers() == []
            RunCommands(store).pause(id)
            wait_for(lambda: store.job(id).status == "paused")
    finally:
        worker.kill()
        worker.wait()


def test_a_worker_that_is_asked_to_go_gives_its_run_back(store: Store) -> None:
    with supervised(store) as supervisor:
        id = RunCommands(store).create(LONG)
        wait_for(lambda: store.job(id).round >= 1)
        (worker,) = supervisor.workers()
        supervisor.close()
        worker.terminate()
        assert worker.wait(PATIENCE) is not None
        assert store.job(id).status == "queued"


def test_one_worker_does_one_job_at_a_time_and_the_rest_wait_in_line(served: Store) -> None:
    first, second, third = (RunCommands(served).create(LONG) for _ in range(3))
    wait_for(lambda: served.job(first).round >= 1)
    assert [served.job(id).status for id in (second, third)] == ["queued", "queued"]
    assert (served.place(second), served.place(third)) == (0, 1)
    RunCommands(served).stop(first)
    wait_for(lambda: served.job(second).status == "running")
    assert served.job(first).status == "stopped"


def test_a_supervisor_that_may_have_no_workers_starts_none(store: Store) -> None:
    with supervised(store, most=0) as supervisor:
        id = RunCommands(store).create(LONG)
        time.sleep(0.5)
        assert supervisor.workers() == []
        assert store.job(id).status == "queued"


def test_a_number_of_workers_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKLAB_WORKERS", "many")
    with pytest.raises(SettingError, match="LEAKLAB_WORKERS is 'many': give a whole number"):
        most_workers()
    monkeypatch.setenv("LEAKLAB_WORKERS", "3")
    assert most_workers() == 3


def test_a_command_reaches_a_run_in_another_process(served: Store) -> None:
    id = RunCommands(served).create(LONG)
    wait_for(lambda: served.job(id).round >= 1)
    RunCommands(served).change(id, {"aggregation.rule.kind": "median"})
    RunCommands(served).pause(id)
    wait_for(lambda: served.job(id).status == "paused")
    (change,) = served.job(id).experiment.changes
    assert change.set == {"aggregation.rule.kind": "median"}
    RunCommands(served).resume(id)
    wait_for(lambda: served.job(id).round > change.round)


def test_an_attack_runs_in_a_worker_and_can_be_stopped(served: Store) -> None:
    target = LONG.changed({"model.kind": "lenet", "training.rounds": 1, "training.steps": 1})
    id = RunCommands(served).create(target)
    wait_for(lambda: served.job(id).status == "finished")
    order = AttackRequest.read({"kind": "inverting-gradients", "iterations": 3000, "round": 1})
    attack = RunCommands(served).attack(id, order)
    wait_for(lambda: len(served.sights(attack)) >= 2)
    pictures = served.arrays.get(served.sights(attack)[-1].arrays)
    assert pictures["guess"].shape == pictures["private"].shape
    RunCommands(served).stop(attack)
    wait_for(lambda: served.job(attack).status == "stopped")


def test_a_finished_attack_keeps_its_result(served: Store) -> None:
    target = LONG.changed(
        {"model.kind": "lenet", "training.rounds": 1, "training.steps": 1, "training.batch_size": 1}
    )
    id = RunCommands(served).create(target)
    wait_for(lambda: served.job(id).status == "finished")
    attack = RunCommands(served).attack(
        id, AttackRequest.read({"kind": "idlg", "round": 1, "client": 4})
    )
    wait_for(lambda: served.job(attack).status == "finished")
    result = served.job(attack).result
    assert result is not None
    assert result["client"] == 4
    assert result["score"]["psnr"] > 30


def test_a_round_that_cannot_be_replayed_is_not_attacked(store: Store) -> None:
    """Other numbers than the stored ones mean another Leaklab, and no attack on fiction."""
    from sqlalchemy import update

    from lab.storage.database import records, writing

    ledger = WorkerStore(store)
    job = ledger.start(LONG.changed({"training.rounds": 1, "model.kind": "mlp"}))
    list(carry_out_run(ledger, job))
    assert StoredRun(store, job.id).replay(1).record == store.rounds(job.id)[0].record
    body = store.rounds(job.id)[0].record.model_dump(mode="json") | {"accuracy": 0.999}
    with writing(store.engine) as connection:
        connection.execute(update(records).values(body=body))
    with pytest.raises(SettingError, match=r"cannot be replayed: its accuracy was 0\.999"):
        StoredRun(store, job.id).replay(1)
