"""A visitor's picture: kept with the attack on it, deleted with it, and shown to nobody else.

C1 and C2 of the review of soundness: pictures outlived their runs, and were preselected for
everybody who opened the run.
"""

from __future__ import annotations

import os
import time

import pytest
import torch
from streamlit.testing.v1 import AppTest
from torch import Tensor

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.common.settings import SettingError
from lab.models.layers import Shape
from lab.reports.bundle import bundle
from lab.reports.comparison import sides
from lab.reports.html_report import render
from lab.storage import array_disposal, uploads
from lab.storage.administration import delete_runs
from lab.storage.array_disposal import sweep
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.visitors import CLASS, COOKIE, visitor_of
from lab.storage.worker_store import WorkerStore
from tests.attack_runs.reconstruction.test_own_example import photograph, picture
from tests.support.app_pages import TINY, button, labels, opened, trained, words, work_off

ANN, BEN = visitor_of("cookie of Ann"), visitor_of("cookie of Ben")
PICTURE = picture(TINY)


def order(store: Store, spy: str = "idlg") -> AttackRequest:
    digest = store.arrays.digest({"picture": PICTURE})
    return AttackRequest.read({"kind": spy, "round": 1, "picture": digest})


def attacked(store: Store, run: str, visitor: str) -> str:
    """A finished attack on that visitor's picture."""
    id = RunCommands(store).attack(run, order(store), visitor=visitor, picture=PICTURE)
    work_off(store)
    return id


def kept(store: Store) -> bool:
    return store.arrays.digest({"picture": PICTURE}) in store.arrays


def uploaded(run: str) -> AppTest:
    app = opened("inversion", run=run)
    next(one for one in app.radio if one.label == "Whose picture").set_value("My own").run()
    app.file_uploader[0].set_value(("me.png", photograph(), "image/png")).run()
    assert not app.exception
    return app


# --- kept with the attack, and deleted with it ----------------------------------------------------


def test_a_picture_is_stored_when_the_attack_is_ordered_and_not_before(store: Store) -> None:
    app = uploaded(trained(store))
    assert not kept(store)
    button(app, "Attack")
    assert kept(store)


def test_a_refused_order_leaves_no_picture(store: Store) -> None:
    run = trained(store)
    late = order(store).model_copy(update={"round": 9})
    with pytest.raises(SettingError, match="has models for rounds 1 to 3"):
        RunCommands(store).attack(run, late, picture=PICTURE)
    assert not kept(store)


def test_a_picture_goes_with_the_last_attack_on_it(store: Store) -> None:
    run, other = trained(store), trained(store)
    attacked(store, run, ANN)
    attacked(store, other, BEN)
    assert delete_runs(store, [run]) == 1
    assert kept(store)  # the other attack has it, too
    assert delete_runs(store, [other]) == 1
    assert not kept(store)
    assert not list(store.arrays.folder.rglob("*.safetensors"))


def test_an_attack_alone_can_be_deleted_with_its_picture(
    store: Store, cookies: dict[str, str]
) -> None:
    cookies[COOKIE] = "cookie of Ann"
    run = trained(store)
    app = button(uploaded(run), "Attack")
    work_off(store)
    button(app.run(), "Delete this attack and the picture")
    assert not kept(store)
    assert store.attacks_on(run, [ANN]) == []
    assert store.run(run).round == 2


def test_an_attack_that_begins_anew_leaves_no_pictures_of_its_first_time(store: Store) -> None:
    run = trained(store)
    attack = attacked(store, run, ANN)
    shown = [sight.arrays for sight in store.sights(attack)]
    WorkerStore(store).forget_glimpses(store.job(attack))
    assert not any(digest in store.arrays for digest in shown)


def test_pictures_without_an_attack_are_swept_once_they_are_an_hour_old(store: Store) -> None:
    run = trained(store)
    attacked(store, run, ANN)
    stray = store.arrays.put({"picture": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)})
    model = store.arrays.put({"model": torch.zeros(4)})
    half = store.arrays.folder / stray[:2] / "unfinished-abc"
    half.write_bytes(b"a killed process")
    assert sweep(store.engine, store.arrays) == 0  # they may be about to be entered
    for path in store.arrays.folder.rglob("*"):
        os.utime(path, times=(time.time() - 3700, time.time() - 3700))
    assert sweep(store.engine, store.arrays) == 2
    assert stray not in store.arrays
    assert not half.exists()
    assert model in store.arrays  # no picture
    assert kept(store)  # an attack has it


def test_deleting_a_run_sweeps_too(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(store)
    stray = store.arrays.put({"picture": torch.zeros(1, 1, 8, 8, dtype=torch.uint8)})
    monkeypatch.setattr(array_disposal.time, "time", lambda now=time.time: now() + 3700)
    delete_runs(store, [run])
    assert stray not in store.arrays


# --- shown to nobody else -------------------------------------------------------------------------


@pytest.mark.parametrize("others", ["cookie of Ben", ""])
def test_a_picture_is_preselected_for_its_visitor_alone(
    store: Store, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch, others: str
) -> None:
    monkeypatch.setenv(CLASS, "1")
    run = trained(store)
    attacked(store, run, ANN)
    cookies[COOKIE] = "cookie of Ann"
    assert "a picture of your own" in words(opened("inversion", run=run))
    cookies[COOKIE] = others
    app = opened("inversion", run=run)
    assert app.radio[0].value == "A client's"
    assert "a picture of your own" not in words(app)
    app.radio[0].set_value("My own").run()
    assert "Choose a picture in the sidebar" in words(app)
    assert "Attack" not in labels(app)


def test_a_visitors_own_attack_is_preselected_before_anothers_newer_one(
    store: Store, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CLASS, "1")
    run = trained(store)
    for visitor, client in ((ANN, 2), (BEN, 3)):
        RunCommands(store).attack(
            run, AttackRequest.read({"kind": "idlg", "round": 1, "client": client}), None, visitor
        )
    cookies[COOKIE] = "cookie of Ann"
    told = words(opened("inversion", run=run))
    assert "Round 1, client 2" in told


def test_exports_have_pictures_of_their_visitor_alone(store: Store) -> None:
    run = trained(store)
    attacked(store, run, ANN)
    job = store.run(run)
    own = "a picture of your own"
    for names, there in (((ANN,), True), ((BEN,), False), (("",), False)):
        page = render(store, run, names)
        files = bundle(store, job, names)
        (side,) = sides(store, [job], names)
        found = [own in page, own in " ".join(side.leaks), b'"own": true' in files["attacks.json"]]
        assert found == [there] * 3, names
    assert own not in render(store, run)  # the command line, unless it made the attack
    assert store.hidden_attacks(run) == 1


def test_visitors_share_no_export_that_has_a_picture(
    store: Store, cookies: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files of the Runs page are cached, for all sessions of the server."""
    monkeypatch.setenv(CLASS, "1")
    run, files = trained(store), {}
    attacked(store, run, ANN)
    chosen = {"selection": {"rows": [0]}}
    monkeypatch.setattr("streamlit.dataframe", lambda *_, **__: chosen)
    monkeypatch.setattr(
        "streamlit.download_button", lambda name, data, *_, **__: files.update({name: data})
    )
    told = {}
    for cookie in ("cookie of Ann", "cookie of Ben", ""):
        cookies[COOKIE] = cookie
        opened("runs", run=run)
        told[cookie] = b"a picture of your own" in files["report.html"]
    assert told == {"cookie of Ann": True, "cookie of Ben": False, "": False}


# --- decoded once ---------------------------------------------------------------------------------


def test_an_upload_is_decoded_once_however_often_its_page_is_drawn(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """C7: a large JPEG was decoded again whenever anything on the page changed."""
    calls, honest = [], uploads.decoded

    def counted(content: bytes, shape: Shape) -> Tensor:
        calls.append(content)
        return honest(content, shape)

    monkeypatch.setattr(uploads, "decoded", counted)
    app = uploaded(trained(store))
    app.run()
    app.run()
    assert calls == [photograph()]
