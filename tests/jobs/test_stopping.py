"""Stopping: at once, whatever the attack is busy with, and its best guess so far is kept."""

from __future__ import annotations

import time
from collections.abc import Iterator
from threading import Event, Timer

import pytest

from lab import Experiment, cli
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.cli import attacks
from lab.jobs import attack_job
from lab.jobs.attack_job import APART, carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.reconstruction.image_scorer import ImageScore
from lab.storage.job import Job
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore

TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 4},
        "model": {"kind": "lenet"},
        "training": {"rounds": 1, "steps": 1, "batch_size": 6},
    }
)


@pytest.fixture
def ledger(store: Store) -> WorkerStore:
    return WorkerStore(store)


@pytest.fixture
def attack(ledger: WorkerStore) -> Job:
    """A long one, held and not yet begun."""
    run = ledger.start(TINY)
    list(carry_out_run(ledger, run))
    spy = {"kind": "idlg", "iterations": 20_000, "restarts": 20}
    return ledger.start_attack(run.id, AttackRequest.read({**spy, "round": 1, "client": 1}))


def kept(store: Store, attack: Job) -> tuple[AttackResult, ImageScore]:
    """The result of a stopped attack, and what its last glimpse showed."""
    result = AttackResult.read(store.job(attack.id).result)
    return result, ImageScore.read(store.sights(attack.id)[-1].body["score"])


def test_the_best_guess_so_far_is_kept_with_its_score(ledger: WorkerStore, attack: Job) -> None:
    glimpses = carry_out_attack(ledger, attack)
    for _ in range(3):
        last = next(glimpses)
    RunCommands(ledger.store).stop(attack.id)
    assert list(glimpses) == []
    ended = ledger.store.job(attack.id)
    assert (ended.status, ended.message) == ("stopped", "stopped by hand")
    result, shown = kept(ledger.store, attack)
    assert result.declared["stopped"] == f"by hand at step {last.step} of {last.steps}"
    assert last.score is not None
    assert result.score == shown
    assert shown.psnr == last.score.psnr
    assert shown.identified is not None
    pictures = ledger.store.arrays.get(ledger.store.sights(attack.id)[-1].arrays)
    assert pictures["guess"].equal(last.pictures["guess"])
    assert any(line.startswith("stopped: by hand at step") for line in result.lines())


def test_an_interrupted_attack_keeps_its_best_guess_too(ledger: WorkerStore, attack: Job) -> None:
    glimpses = carry_out_attack(ledger, attack)
    next(glimpses)
    glimpses.close()
    assert ledger.store.job(attack.id).message == "interrupted"
    assert kept(ledger.store, attack)[0].declared["stopped"].startswith("interrupted at step")


def test_a_stop_waits_for_no_step_of_the_attack(
    ledger: WorkerStore, attack: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between two glimpses this attack would take half a minute."""
    go, honest = Event(), attack_job.start_attack

    def stuck(order: AttackRequest, history: RunHistory, apart: float) -> Iterator[AttackProgress]:
        yield next(honest(order, history, apart))
        go.wait(30)

    monkeypatch.setattr(attack_job, "start_attack", stuck)
    asked: list[float] = []

    def ask() -> None:
        asked.append(time.monotonic())
        RunCommands(ledger.store).stop(attack.id)

    glimpses = carry_out_attack(ledger, attack)
    next(glimpses)
    Timer(0.1, ask).start()
    assert list(glimpses) == []
    assert time.monotonic() - asked[0] < 1
    go.set()
    assert ledger.store.job(attack.id).status == "stopped"
    assert kept(ledger.store, attack)[0].score is not None


def test_an_attack_that_has_said_nothing_yet_keeps_nothing(
    ledger: WorkerStore, attack: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    go = Event()

    def silent(order: AttackRequest, history: RunHistory, apart: float) -> Iterator[AttackProgress]:
        go.wait(30)
        yield from ()

    monkeypatch.setattr(attack_job, "start_attack", silent)
    RunCommands(ledger.store).stop(attack.id)
    assert list(carry_out_attack(ledger, attack)) == []
    go.set()
    ended = ledger.store.job(attack.id)
    assert (ended.status, ended.result) == ("stopped", None)
    assert ledger.store.sights(attack.id) == []


def test_a_few_glimpses_a_second_are_stored_and_no_more(ledger: WorkerStore, attack: Job) -> None:
    """However many guesses the attack makes; at least four a second where nothing else runs."""
    began, glimpses = time.monotonic(), carry_out_attack(ledger, attack)
    for _ in glimpses:
        if time.monotonic() - began > 1.5:
            break
    seconds = time.monotonic() - began
    glimpses.close()
    assert 2 <= len(ledger.store.sights(attack.id)) <= seconds / APART + 2


def test_ctrl_c_tells_the_best_guess_so_far(
    attack: Job, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(ledger: WorkerStore, job: Job) -> Iterator[AttackProgress]:
        glimpses = carry_out_attack(ledger, job)
        yield next(glimpses)
        glimpses.throw(KeyboardInterrupt)

    monkeypatch.setattr(attacks, "carry_out_attack", interrupted)
    words = ["attack", "idlg", "--run", str(attack.run), "-s", "restarts=20"]
    monkeypatch.setattr("sys.argv", ["leaklab", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 130
    told = capsys.readouterr().out
    assert "PSNR" in told
    assert "stopped: interrupted at step" in told
