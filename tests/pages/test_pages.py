"""Pages: every one opens, on an empty store, on a run, and on a broken one."""

from __future__ import annotations

import pytest

from lab.storage.store import Store
from tests.support.app_pages import labels, opened, trained, words

OF_A_RUN = ["inversion", "membership", "malicious", "aggregation"]  # and each names it
OF_RUNS = ["live", "leaks", "audit", "budget", "runs", "server", "tradeoff"]
PAGES = [*OF_A_RUN, *OF_RUNS, "how", "glossary"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_store(page: str) -> None:
    app = opened(page)
    assert app.header


@pytest.mark.parametrize("page", [*OF_A_RUN, *OF_RUNS])
def test_every_page_that_shows_runs_opens_on_one(page: str, store: Store) -> None:
    run = trained(store)
    app = opened(page, run=run)
    assert not app.error
    picked = [one for one in app.sidebar.selectbox if one.label == "Run"]
    assert [one.value for one in picked] == [run] or page in OF_RUNS


def test_an_unknown_run_in_the_address_is_said_and_forgotten() -> None:
    app = opened(run="nobody")
    assert "no run 'nobody'" in words(app)
    assert "Start" in labels(app)


def test_a_broken_store_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKLAB_DB", "nonsense")
    assert "set LEAKLAB_DB to another" in opened().error[0].value
