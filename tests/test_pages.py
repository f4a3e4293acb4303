"""Pages: every one opens, on an empty store, on a run, and on a broken one."""

from __future__ import annotations

import pytest
from streamlit.testing.v1 import AppTest

from lab import ROOT
from lab.store import Store
from tests.paging import labels, opened, trained, words

PAGES = ["live", "inversion", "leaks", "membership", "audit", "malicious", "aggregation", "budget"]
PAGES += ["how", "glossary", "runs", "server", "tradeoff"]


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_an_empty_store(page: str) -> None:
    app = opened(page)
    assert app.header


@pytest.mark.parametrize("page", PAGES)
def test_every_page_opens_on_a_run(page: str, store: Store) -> None:
    run = trained(store)
    app = opened(page, run=run)
    assert not app.error
    silent = ("live", "leaks", "budget", "audit", "how", "glossary", "runs", "server", "tradeoff")
    assert run in words(app) or page in silent


def test_an_unknown_run_in_the_address_is_said_and_forgotten() -> None:
    app = opened(run="nobody")
    assert "no run 'nobody'" in words(app)
    assert "Start" in labels(app)


def test_a_broken_store_is_told_on_the_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKLAB_DB", "nonsense")
    app = AppTest.from_file(str(ROOT / "lab" / "app.py"), default_timeout=60).run()
    assert not app.exception
    assert "set LEAKLAB_DB to another" in app.error[0].value
