"""Several browsers, refreshes and restarts: a run belongs to the store, and to who started it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from lab.engine.run import run as rounds_of
from lab.storage.store import Store
from tests.support.browsing import LONG, TINY, press, start, status, turn_to, until
from tests.support.chromium import free_port, served

pytestmark = pytest.mark.browser


def test_a_link_shows_the_run_to_others_who_may_not_steer_it(
    visitor: Callable[[], Page], address: str, lab_store: Store
) -> None:
    page, other = visitor(), visitor()
    run = start(page, f"{address}/{LONG}")
    expect(page.get_by_text("Accuracy", exact=True)).to_be_visible()
    other.goto(page.url)
    expect(other.get_by_text("Somebody else's run")).to_be_visible()
    expect(other.get_by_text("Accuracy", exact=True)).to_be_visible()
    for name in ("Pause", "Stop"):
        expect(other.get_by_role("button", name=name, exact=True)).to_have_count(0)

    page.reload()  # in mid-run: it goes on, and is still steered from here
    reached = lab_store.job(run).round
    until(page, lambda: lab_store.job(run).round > reached)
    press(page, "Stop")
    for each in (page, other):
        status(each, "stopped")
    assert lab_store.owner(run)
    assert [job.id for job in lab_store.runs(visitor=lab_store.owner(run))] == [run]


def test_the_server_restarts_in_mid_run(page: Page, tmp_path: Path) -> None:
    """The page finds it again by itself, and the records are those of an undisturbed run."""
    store, port = Store(f"sqlite:///{tmp_path / 'leaklab.db'}"), free_port()
    with served(store.url, port) as address:
        run = start(page, f"{address}/{TINY}&training.rounds=500")
        expect(page.get_by_text("accuracy").first).to_be_visible()  # the figures have come
        status(page, "running")
    with served(store.url, port):  # on the same database; nobody reloads the page
        status(page, "finished, 500 of 500")
    job = store.job(run)
    assert (job.status, job.round) == ("finished", 500)
    records = [each.record for each in store.rounds(run)]
    assert records == [moment.record for moment in rounds_of(job.experiment)]
    store.engine.dispose()


@pytest.mark.parametrize("browsers", [2, pytest.param(5, marks=pytest.mark.deep)])
def test_browsers_train_at_once_and_see_their_own(
    visitor: Callable[[], Page], address: str, lab_store: Store, browsers: int
) -> None:
    pages = [visitor() for _ in range(browsers)]
    runs = [
        start(page, f"{address}/{TINY}&training.rounds=10&seed={seed}")
        for seed, page in enumerate(pages)
    ]
    for page in pages:
        status(page, "finished, 10 of 10")
    owners = [lab_store.owner(run) for run in runs]
    assert len(set(owners)) == browsers
    for seed, (run, owner) in enumerate(zip(runs, owners, strict=True)):
        (job,) = lab_store.runs(visitor=owner)
        assert (job.id, job.experiment.seed, job.round) == (run, seed, 10)
    turn_to(pages[0], "Gradient inversion")
    pages[0].get_by_role("combobox", name="Run", exact=True).click()
    offered = pages[0].get_by_role("option").all_inner_texts()
    (name,) = offered  # its own run, and nobody else's
    assert name.startswith(lab_store.run(runs[0]).experiment.title())
