"""A class on one server: whose run is whose, fair turns, limits, and who has left."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import select, update
from streamlit.testing.v1 import AppTest

from lab import cli
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.jobs import attack_job, run_job, worker
from lab.jobs.suspended_attacks import SuspendedAttacks
from lab.storage import visitors as visitors_module
from lab.storage.administration import (
    delete_runs,
    limits_now,
    pause_abandoned,
    presences,
    queue,
    set_limits,
)
from lab.storage.database import addresses, reading, visitors, writing
from lab.storage.network_addresses import name_of
from lab.storage.replay import StoredRun
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.visitors import CLASS, COOKIE, GRACE, Limits, visitor_of
from lab.storage.worker_store import WorkerStore
from lab.web.passphrase import ADMIN, check_open
from tests.support.app_pages import button, labels, opened

SECRET = "four words of ours"

TINY = Experiment.read(
    {
        "data": {"source": "digits", "clients": 2, "examples": 40},
        "training": {"rounds": 3, "steps": 1},
    }
)
ANN, BEN = visitor_of("cookie of Ann"), visitor_of("cookie of Ben")


@pytest.fixture(autouse=True)
def _visits(store: Store) -> None:
    for visitor in (ANN, BEN):
        RunCommands(store).seen(visitor)


def claimed(store: Store, count: int) -> list[str]:
    """The next jobs that workers take up, none of which ends."""
    found = [WorkerStore(store).claim() for _ in range(count)]
    return [job.id for job in found if job]


# --- whose run is whose ---------------------------------------------------------------------------


def test_a_visitor_is_known_by_a_hash_only() -> None:
    assert visitor_of("") == ""
    assert visitor_of("a") != visitor_of("b")
    assert "cookie of Ann" not in ANN
    assert len(ANN) == 32


def test_runs_are_listed_for_whoever_started_them(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, other, nobody = (RunCommands(store).create(TINY, visitor=who) for who in (ANN, BEN, ""))
    assert {job.id for job in store.runs(visitor=ANN)} == {mine, nobody}
    assert {job.id for job in store.runs()} == {mine, other, nobody}
    monkeypatch.setenv(CLASS, "1")  # what the teacher runs by hand is not the class's
    assert {job.id for job in store.runs(visitor=ANN)} == {mine}
    assert store.run(other).id == other  # whoever has the link may look
    assert store.owner(other) == BEN
    assert store.owner(nobody) == ""


# --- turns ----------------------------------------------------------------------------------------


def test_visitors_take_turns_however_much_one_asks_for(store: Store) -> None:
    many = [RunCommands(store).create(TINY, visitor=ANN) for _ in range(4)]
    few = [RunCommands(store).create(TINY, visitor=BEN) for _ in range(2)]
    line = [many[0], few[0], many[1], few[1], many[2], many[3]]
    assert [store.place(id) for id in line] == list(range(6))
    assert claimed(store, 6) == line


def test_who_was_served_last_waits_even_when_nothing_is_at_work(store: Store) -> None:
    many = [RunCommands(store).create(TINY, visitor=ANN) for _ in range(2)]
    later = RunCommands(store).create(TINY, visitor=BEN)
    ledger = WorkerStore(store)
    first = ledger.claim()
    assert first is not None
    assert first.id == many[0]
    ledger.settle(first, "stopped")
    assert claimed(store, 2) == [later, many[1]]


def test_a_long_run_gives_way_and_loses_nothing(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "TURN", 0.0)
    long = RunCommands(store).create(TINY, visitor=ANN)
    ledger = WorkerStore(store)
    job = ledger.claim()
    assert job is not None
    RunCommands(store).create(TINY, visitor=BEN)
    worker._take_turn(SuspendedAttacks(ledger), job)
    assert (store.job(long).status, store.job(long).round) == ("queued", 1)
    while (job := ledger.claim()) is not None:
        worker._take_turn(SuspendedAttacks(ledger), job)
    assert store.job(long).status == "finished"
    alone = RunCommands(store).create(TINY)
    job = ledger.claim()
    assert job is not None
    worker._take_turn(SuspendedAttacks(ledger), job)  # nobody waits, so it is not interrupted
    assert [each.record for each in store.rounds(long)] == [
        each.record for each in store.rounds(alone)
    ]


# --- limits ---------------------------------------------------------------------------------------


def test_one_may_have_so_many_jobs_and_the_message_says_what_to_do(store: Store) -> None:
    set_limits(store, Limits(jobs=2))
    runs = [RunCommands(store).create(TINY, visitor=ANN) for _ in range(2)]
    with pytest.raises(SettingError, match=r"2 of your runs and attacks.*may have 2: wait"):
        RunCommands(store).create(TINY, visitor=ANN)
    RunCommands(store).create(TINY, visitor=BEN)
    RunCommands(store).create(TINY)  # the command line has no limit
    RunCommands(store).stop(runs[0])
    RunCommands(store).create(TINY, visitor=ANN)


def test_no_limit_is_no_limit(store: Store) -> None:
    set_limits(store, Limits(jobs=0))
    assert len({RunCommands(store).create(TINY, visitor=ANN) for _ in range(20)}) == 20
    assert limits_now(store) == Limits(jobs=0)


def test_an_attack_ends_at_the_time_limit_and_keeps_its_best_guess(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = {"model": "lenet", "data.examples": 2, "training.rounds": 1}
    run = RunCommands(store).create(TINY.changed(few), visitor=ANN)
    ledger = WorkerStore(store)
    job = ledger.claim()
    assert job is not None
    list(run_job.carry_out_run(ledger, job))
    spy = {"kind": "inverting-gradients", "iterations": 5000}
    asked = RunCommands(store).attack(run, AttackRequest.read({**spy, "round": 1}), visitor=ANN)
    job = ledger.claim()
    assert job is not None
    monkeypatch.setattr(WorkerStore, "longest", lambda self, job: 0.0)
    list(attack_job.carry_out_attack(ledger, job))
    ended = store.job(asked)
    assert ended.status == "stopped"
    assert "time limit" in ended.message
    assert ended.result is not None


def test_time_limits_are_for_visitors_only(store: Store) -> None:
    set_limits(store, Limits(minutes=2))
    mine, nobody = RunCommands(store).create(TINY, visitor=ANN), RunCommands(store).create(TINY)
    ledger = WorkerStore(store)
    assert ledger.longest(store.job(mine)) == 120
    assert ledger.longest(store.job(nobody)) == float("inf")


# --- who has left ---------------------------------------------------------------------------------


def absent(store: Store, visitor: str, seconds: float) -> None:
    with writing(store.engine) as connection:
        then = time.time() - seconds
        connection.execute(update(visitors).where(visitors.c.id == visitor).values(seen=then))


def test_what_was_left_behind_is_given_up_after_the_grace_period(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(GRACE, "60")
    left, there, nobody = (RunCommands(store).create(TINY, visitor=who) for who in (ANN, BEN, ""))
    absent(store, ANN, 59)
    assert pause_abandoned(store) == 0
    absent(store, ANN, 61)
    assert pause_abandoned(store) == 1
    assert store.job(left).status == "paused"  # so it can be resumed
    assert "nobody has looked at it for 60 seconds" in store.job(left).message
    assert {store.job(id).status for id in (there, nobody)} == {"queued"}
    RunCommands(store).seen(ANN)
    RunCommands(store).resume(left)
    assert pause_abandoned(store) == 0


def test_grace_without_end(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GRACE, "0")
    RunCommands(store).create(TINY, visitor=ANN)
    absent(store, ANN, 1e6)
    assert pause_abandoned(store) == 0
    monkeypatch.setenv(GRACE, "soon")
    with pytest.raises(SettingError, match="LEAKLAB_GRACE is 'soon': give a whole number"):
        pause_abandoned(store)


# --- the office -----------------------------------------------------------------------------------


def test_the_office_sees_the_queue_and_who_is_there(store: Store) -> None:
    runs = [RunCommands(store).create(TINY, visitor=who) for who in (ANN, ANN, BEN)]
    at_work = claimed(store, 1)
    seen = queue(store)
    assert [each.id for each in seen] == [runs[0], runs[2], runs[1]]
    assert [each.status for each in seen] == ["running", "queued", "queued"]
    assert at_work == [runs[0]]
    counts = {each.visitor: (each.active, each.jobs) for each in presences(store)}
    assert counts == {ANN: (2, 2), BEN: (1, 1)}


def test_what_is_forgotten_is_gone_and_nothing_else(store: Store) -> None:
    ledger = WorkerStore(store)
    kept, gone = (
        RunCommands(store).create(TINY, visitor=ANN),
        RunCommands(store).create(TINY, visitor=ANN),
    )
    twin = RunCommands(store).create(TINY.changed({"seed": 1}))
    for _ in range(3):
        job = ledger.claim()
        assert job is not None
        list(run_job.carry_out_run(ledger, job))
    attack = RunCommands(store).attack(
        twin, AttackRequest.read({"kind": "loss-threshold", "round": 1})
    )
    job = ledger.claim()
    assert job is not None
    list(attack_job.carry_out_attack(ledger, job))
    files = set(store.arrays.folder.rglob("*.safetensors"))
    assert delete_runs(store, [gone]) == 1  # its arrays are those of `kept` too, bit for bit
    assert set(store.arrays.folder.rglob("*.safetensors")) == files
    assert len(StoredRun(store, kept).state().model)
    assert delete_runs(store, [twin]) == 1
    assert len(list(store.arrays.folder.rglob("*.safetensors"))) < len(files)
    for id in (gone, twin, attack):
        with pytest.raises(SettingError):
            store.job(id)


def test_what_is_at_work_is_not_forgotten(store: Store) -> None:
    run = RunCommands(store).create(TINY)
    with pytest.raises(SettingError, match="stop it first"):
        delete_runs(store, [run])
    assert store.run(run).status == "queued"


# --- addresses ------------------------------------------------------------------------------------


def test_visitors_of_one_address_share_a_limit(store: Store) -> None:
    """C7: whoever made up a cookie was a new visitor with six more jobs."""
    set_limits(store, Limits(jobs=2, address=5))
    made_up = [visitor_of(f"made up {number}") for number in range(4)]
    for visitor in made_up:
        RunCommands(store).seen(visitor, name_of("192.0.2.7"))
    for visitor in (*made_up[:2], *made_up[:2], made_up[2]):
        RunCommands(store).create(TINY, visitor=visitor)
    told = r"5 runs and attacks from your network address .*one address may have 5: wait, or ask"
    with pytest.raises(SettingError, match=told):
        RunCommands(store).create(TINY, visitor=made_up[3])
    RunCommands(store).seen(BEN, name_of("192.0.2.8"))
    RunCommands(store).create(TINY, visitor=BEN)
    RunCommands(store).create(TINY, visitor=ANN)  # seen before there were addresses
    RunCommands(store).create(TINY)  # the command line


def test_an_address_has_a_name_that_leads_nobody_back() -> None:
    assert name_of("192.0.2.7") == name_of("::ffff:192.0.2.7") != name_of("192.0.2.8")
    assert name_of("2001:db8::1") == name_of("2001:db8::2:3")  # one subscriber has all of them
    assert name_of("2001:db8::1") != name_of("2001:db8:0:1::1")
    assert name_of(None) == name_of(None) != name_of("what a proxy makes up")
    assert "192" not in name_of("192.0.2.7")
    assert len(name_of(None)) == 32


def test_a_page_tells_the_store_where_its_visitor_is(
    store: Store, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streamlit.runtime.context.ContextProxy.ip_address", "192.0.2.7")
    cookies[COOKIE] = "cookie of Ann"
    opened()
    with reading(store.engine) as connection:
        rows = connection.execute(select(addresses)).all()
    assert [(row.visitor, row.address) for row in rows] == [(ANN, name_of("192.0.2.7"))]


def test_a_class_behind_a_proxy_needs_a_passphrase_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ADMIN, raising=False)
    with pytest.raises(
        SettingError, match=r"--class is for a lab that others.*leaklab app --class"
    ):
        check_open("127.0.0.1", for_class=True)
    monkeypatch.setenv(ADMIN, SECRET)
    check_open("127.0.0.1", for_class=True)


@pytest.mark.parametrize(
    ("words", "is_class"),
    [([], False), (["--class"], True), (["--host", "0.0.0.0"], True)],
)
def test_the_class_is_told_by_a_switch_or_by_the_host(
    monkeypatch: pytest.MonkeyPatch, words: list[str], is_class: bool
) -> None:
    monkeypatch.setenv(ADMIN, SECRET)
    monkeypatch.setenv(CLASS, "")  # put back after the test
    monkeypatch.setattr("streamlit.web.cli.main", lambda _: None)
    monkeypatch.setattr("os.chdir", lambda _: None)
    monkeypatch.setattr("sys.argv", ["leaklab", "app", *words])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    assert visitors_module.is_class() is is_class


# --- the page -------------------------------------------------------------------------------------


@pytest.fixture
def admin(monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv(ADMIN, SECRET)
    return opened("admin")


def entered(app: AppTest, given: str) -> AppTest:
    app.text_input[0].set_value(given)
    app.button[0].click().run()
    return app


def test_the_admin_page_shows_nothing_before_the_passphrase(admin: AppTest, store: Store) -> None:
    RunCommands(store).create(TINY, visitor=ANN)
    assert not admin.subheader
    assert "not the passphrase" in entered(admin, "guess").error[0].value
    assert not admin.subheader
    entered(admin, SECRET)
    assert admin.subheader[0].value == "Queue: 0 at work, 1 waiting"


def test_the_admin_page_offers_nothing_where_there_is_nothing(admin: AppTest) -> None:
    entered(admin, SECRET)
    assert not admin.multiselect
    told = {one.value for one in admin.caption}
    assert {"Nothing is at work, and nothing waits.", "There is no run that has ended."} <= told


def test_the_admin_page_stops_limits_and_forgets(admin: AppTest, store: Store) -> None:
    run = RunCommands(store).create(TINY, visitor=ANN)
    entered(admin, SECRET)
    admin.multiselect(key="to stop").set_value([run]).run()
    button(admin, "Stop them")
    assert store.job(run).status == "stopped"
    admin.number_input(key="limit jobs").set_value(3)
    button(admin, "Set")
    assert limits_now(store).jobs == 3
    admin.multiselect(key="to forget").set_value([run]).run()
    button(admin, "Forget 1 for good")
    assert not store.runs()


def test_a_run_belongs_to_its_browser_and_others_may_watch_it(
    store: Store, cookies: dict[str, str]
) -> None:
    cookies[COOKIE] = "cookie of Ann"
    button(opened(), "Start")
    (job,) = store.runs()
    assert store.owner(job.id) == ANN
    assert "Stop" in labels(opened(run=job.id))
    cookies[COOKIE] = "cookie of Ben"
    seen = opened(run=job.id)
    assert "Stop" not in labels(seen)
    assert any("Somebody else's run" in one.value for one in seen.caption)


def test_who_has_too_much_at_work_is_told_on_the_page(
    store: Store, cookies: dict[str, str]
) -> None:
    cookies[COOKIE] = "cookie of Ann"
    set_limits(store, Limits(jobs=1))
    RunCommands(store).create(TINY, visitor=ANN)
    app = button(opened(), "Start")
    assert "one may have 1" in app.error[0].value
    assert len(store.runs()) == 1
