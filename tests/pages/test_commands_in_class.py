"""Commands in a class: a link lets one look, attack and branch; the rest is for whoever owns a job.

What a page no longer offers may still be asked for, so the pages are tested with buttons that were
drawn for somebody else.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.jobs.run_job import carry_out_run
from lab.storage.administration import limits_now, set_limits
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.visitors import CLASS, COOKIE, Limits, identities, visitor_of
from lab.storage.worker_store import WorkerStore
from lab.sweeps.sweep import Sweep
from tests.support.app_pages import button, labels, opened, work_off
from tests.support.sweeps import GRID

TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 2, "examples": 40},
        "model": {"kind": "mlp", "hidden": 16},
        "training": {"rounds": 3, "steps": 1},
    }
)
ANN, BEN = visitor_of("cookie of Ann"), visitor_of("cookie of Ben")


@pytest.fixture(autouse=True)
def _class(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CLASS, "1")


# --- runs -----------------------------------------------------------------------------------------


def test_what_is_nobodys_is_commanded_by_whoever_is_alone_with_the_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert identities(ANN) == (ANN,)
    assert identities("") == ()
    monkeypatch.delenv(CLASS)
    assert identities(ANN) == ("", ANN)


@pytest.mark.parametrize("owner", [ANN, ""])
def test_a_run_is_not_steered_by_whoever_has_its_link(
    store: Store, cookies: dict[str, str], owner: str
) -> None:
    cookies[COOKIE] = "cookie of Ben"
    run = RunCommands(store).create(TINY, visitor=owner)
    app = opened(run=run)
    assert not {"Pause", "Stop"} & labels(app)
    assert any("Somebody else's run" in one.value for one in app.caption)
    app.switch_page("../../pages/runs.py").run()
    assert not app.text_area


def test_commands_that_come_late_are_refused(store: Store, cookies: dict[str, str]) -> None:
    cookies[COOKIE] = "cookie of Ann"
    run = RunCommands(store).create(TINY, visitor=ANN)
    app = opened(run=run)
    cookies[COOKIE] = "cookie of Ben"
    button(app, "Stop")
    assert "somebody else's" in app.error[0].value
    assert store.job(run).status == "queued"
    cookies[COOKIE] = "cookie of Ann"
    button(app.run(), "Pause")
    assert store.job(run).status == "paused"
    cookies[COOKIE] = "cookie of Ben"
    button(app, "Resume")
    assert store.job(run).status == "paused"


def test_rounds_are_not_watched_over_nor_runs_deleted_by_others(
    store: Store, cookies: dict[str, str]
) -> None:
    cookies[COOKIE] = "cookie of Ann"
    run = RunCommands(store).create(TINY, visitor=ANN)
    work_off(store)
    app = opened(run=run)
    cookies[COOKIE] = "cookie of Ben"
    next(one for one in app.toggle if one.label == "What the server can read").set_value(True).run()
    assert not store.watched(run)
    button(app, "Branch from round 3")
    (branch,) = store.runs(visitor=BEN)
    assert branch.round == 3


# --- attacks --------------------------------------------------------------------------------------


def test_everybody_stops_an_attack_of_their_own_only(store: Store, cookies: dict[str, str]) -> None:
    run = RunCommands(store).create(TINY, visitor=ANN)
    work_off(store)
    theirs = RunCommands(store).attack(
        run, AttackRequest.read({"kind": "first-layer", "round": 1}), visitor=ANN
    )
    cookies[COOKIE] = "cookie of Ben"
    app = opened("inversion", run=run)
    assert "Stop the attack" not in labels(app)
    assert any("Somebody else has asked for just this" in one.value for one in app.caption)
    button(app, "Attack")
    (mine,) = [one.id for one in store.attacks_on(run) if one.id != theirs]
    assert store.owner(mine) == BEN
    cookies[COOKIE] = "cookie of Ann"
    button(app, "Stop the attack")  # drawn for Ben, and Ann may not
    assert {store.job(id).status for id in (mine, theirs)} == {"queued"}
    cookies[COOKIE] = "cookie of Ben"
    button(app.run(), "Stop the attack")
    assert store.job(mine).status == "stopped"
    assert store.job(theirs).status == "queued"


# --- sweeps ---------------------------------------------------------------------------------------


def test_a_sweep_on_a_page_is_called_off_by_whoever_asked(
    store: Store, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "small.toml").write_text(GRID, encoding="utf-8")
    monkeypatch.setattr("lab.experiment.presets.FOLDER", tmp_path)
    grid = SweepRuns(store, Sweep.from_toml(GRID))
    cookies[COOKIE] = "cookie of Ann"
    app = button(opened("malicious"), "Run the grid")
    assert grid.wanted([ANN]) == 8
    assert labels(app) == {"Stop"}
    cookies[COOKIE] = "cookie of Ben"
    button(app, "Stop")  # drawn for Ann
    assert grid.progress().open == 8
    assert labels(app.run()) == {"Run the grid"}
    assert any("Somebody else has asked" in one.value for one in app.caption)
    set_limits(store, Limits(cells=7))
    button(app, "Run the grid")
    assert "8 runs of this sweep are missing" in app.error[0].value
    set_limits(store, Limits(cells=8))
    button(app, "Run the grid")
    RunCommands(store).create(TINY, visitor=ANN)
    assert labels(app.run()) == {"Stop"}
    (bar,) = app.get("progress")
    assert bar.proto.text == "0 of 8 runs are done; 1 before the next of them"


# --- a browser without cookies --------------------------------------------------------------------


def test_who_has_no_cookie_is_somebody_in_a_class_for_as_long_as_the_page_is_open(
    store: Store,
) -> None:
    set_limits(store, Limits(jobs=1))
    app = button(opened(), "Start")
    (job,) = store.runs()
    owner = store.owner(job.id)
    assert len(owner) == 32
    assert "Stop" in labels(app)  # its own
    button(button(app, "New run"), "Start")
    assert "one may have 1" in app.error[0].value
    other = button(opened(), "Start")
    assert not other.error
    assert {store.owner(one.id) for one in store.runs()} > {owner}
    assert len(store.runs()) == 2


def test_who_has_no_cookie_and_is_alone_with_the_machine_is_nobody(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CLASS)
    app = button(opened(), "Start")
    (job,) = store.runs()
    assert store.owner(job.id) == ""
    assert "Stop" in labels(app)


# --- limits ---------------------------------------------------------------------------------------


def test_a_run_has_so_many_rounds_at_most(store: Store) -> None:
    set_limits(store, Limits(rounds=10))
    long = TINY.changed({"training.rounds": 11})
    told = r"training\.rounds is 11, and here a run may have 10: give 10 or fewer"
    with pytest.raises(SettingError, match=told):
        RunCommands(store).create(long, visitor=ANN)
    assert store.runs() == []
    nobodys = RunCommands(store).create(long)
    run = RunCommands(store).create(TINY.changed({"training.rounds": 10}), visitor=ANN)
    with pytest.raises(SettingError, match=told):
        RunCommands(store).change(run, {"training.rounds": 11}, visitor=ANN)
    RunCommands(store).change(nobodys, {"training.rounds": 12})
    set_limits(store, Limits(rounds=5))
    RunCommands(store).pause(run)
    with pytest.raises(SettingError, match="give 5 or fewer"):
        RunCommands(store).resume(run, visitor=ANN)
    RunCommands(store).change(run, {"training.rounds": 5}, visitor=ANN)
    RunCommands(store).resume(run, visitor=ANN)


def test_rounds_that_are_over_do_not_count_and_those_to_come_do(store: Store) -> None:
    set_limits(store, Limits(rounds=10))
    longer = TINY.changed({"training.rounds": 4}).changed_from(3, {"training.rounds": 20})
    with pytest.raises(SettingError, match="rounds is 20"):
        RunCommands(store).create(longer, visitor=ANN)
    shorter = TINY.changed({"training.rounds": 20}).changed_from(2, {"training.rounds": 4})
    run = RunCommands(store).create(shorter)
    ledger = WorkerStore(store)
    job = ledger.claim()
    assert job is not None
    next(steps := carry_out_run(ledger, job))
    steps.close()
    assert store.job(run).round == 1
    RunCommands(store).resume(run, visitor=ANN)


def test_who_resumes_many_has_as_few_jobs_as_who_starts_many(store: Store) -> None:
    set_limits(store, Limits(jobs=1))
    first = RunCommands(store).create(TINY, visitor=ANN)
    RunCommands(store).pause(first)
    RunCommands(store).create(TINY, visitor=ANN)
    with pytest.raises(SettingError, match="one may have 1"):
        RunCommands(store).resume(first, visitor=ANN)
    RunCommands(store).resume(first)  # by the command line


def test_branches_have_the_limits_of_runs(store: Store, cookies: dict[str, str]) -> None:
    long = RunCommands(store).create(TINY)
    work_off(store)
    set_limits(store, Limits(rounds=2, jobs=1))
    told = r"training\.rounds is 3, and here a run may have 2: give 2 or fewer"
    with pytest.raises(SettingError, match=told):
        RunCommands(store).branch(long, 1, visitor=ANN)
    cookies[COOKIE] = "cookie of Ann"
    app = button(opened(run=long), "Branch from round 3")
    assert "here a run may have 2" in app.error[0].value
    assert store.runs(visitor=ANN) == []
    RunCommands(store).branch(long, 1)  # by the command line
    set_limits(store, Limits(rounds=3, jobs=1))
    RunCommands(store).create(TINY, visitor=ANN)
    with pytest.raises(SettingError, match="one may have 1: wait for one, or stop one"):
        RunCommands(store).branch(long, 1, visitor=ANN)
    button(app, "Branch from round 3")
    assert "one may have 1" in app.error[0].value
    RunCommands(store).branch(long, 1, visitor=BEN)


def test_a_refusal_goes_when_the_visitor_does_the_next_thing(
    store: Store, cookies: dict[str, str]
) -> None:
    cookies[COOKIE] = "cookie of Ann"
    run = RunCommands(store).create(TINY, visitor=ANN)
    work_off(store)
    set_limits(store, Limits(rounds=2))
    app = button(opened(run=run), "Branch from round 3")
    assert "here a run may have 2" in app.error[0].value
    set_limits(store, Limits())
    button(app, "Branch from round 3")
    assert not app.error
    set_limits(store, Limits(rounds=2))
    button(app, "Resume")
    assert "here a run may have 2" in app.error[0].value
    button(app, "New run")
    assert not app.error


def test_rounds_and_sweeps_have_limits_in_a_class_only_unless_they_are_set(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert limits_now(store) == Limits()
    assert Limits().rounds
    assert Limits().cells
    monkeypatch.delenv(CLASS)
    assert (limits_now(store).rounds, limits_now(store).cells) == (0, 0)
    set_limits(store, Limits(rounds=7))
    assert limits_now(store) == Limits(rounds=7)
