"""What all tests share: a store of their own, and one thread for each operation."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from itertools import count

import pytest
import streamlit as st
import torch
from hypothesis import settings
from streamlit.components.v2.manifest_scanner import scan_component_manifests
from streamlit.runtime.scriptrunner.script_cache import ScriptCache
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from lab.jobs import WORKERS
from lab.schema import DATABASE
from lab.store import Store

pytest_plugins = ("tests.browsing",)
# A machine that is busy with other things is slow now and then, and that is no failure.
# `make test` draws few examples for each property; `make test-all` takes the deep profile.
settings.register_profile("lab", deadline=None, max_examples=8, derandomize=True)
settings.register_profile("deep", settings.get_profile("lab"), max_examples=25)
settings.load_profile("lab")

_NUMBERS = count()  # of stores, one for each test
_SCRIPTS = ScriptCache()
_COMPONENTS = cache(scan_component_manifests)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def store_url(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> str:
    """Nobody's real store is touched.

    Whoever uses its folder makes it: most tests don't, and `tmp_path` reads the names of the
    folders of all tests before it.
    """
    folder = tmp_path_factory.getbasetemp() / "stores" / str(next(_NUMBERS))
    url = f"sqlite:///{folder / 'store' / 'leaklab.db'}"
    monkeypatch.setenv(DATABASE, url)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    return url


@pytest.fixture(autouse=True)
def _prepared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a server; `AppTest` would compile every page again whenever it runs, and would look
    through all installed packages for components whenever it opens one.
    """
    found = "streamlit.components.v2.manifest_scanner.scan_component_manifests"
    monkeypatch.setattr(found, _COMPONENTS)
    monkeypatch.setattr("streamlit.testing.v1.app_test.ScriptCache", lambda: _SCRIPTS)


@pytest.fixture(autouse=True)
def _nothing_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages under test share a process, and would see the store of the test before.

    They start no worker: tests do the workers' work themselves, or start some by name.
    """
    st.cache_resource.clear()
    monkeypatch.setenv(WORKERS, "0")


@pytest.fixture
def store(store_url: str) -> Iterator[Store]:
    opened = Store(store_url)
    yield opened
    opened.engine.dispose()


@pytest.fixture(autouse=True)
def cookies(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the browser of a page under test sends; none, as long as a test puts none in.

    It is on this machine, so that Streamlit tells no address.
    """
    monkeypatch.setattr("streamlit.runtime.context.ContextProxy.ip_address", None)
    sent: dict[str, str] = {}
    monkeypatch.setattr("streamlit.runtime.context.ContextProxy.cookies", sent)
    return sent


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores, since a test in a browser waits for most of its time."""
    return (os.cpu_count() or 1) + 1


# Workers take whole files in the order of collection.  These take longest, and a long one that is
# begun last is waited for.
LONGEST = (
    "journeys_live", "journeys_sharing", "journeys_pages", "lively", "accessibility", "attacks",
    "jobs", "surveillance", "cli", "algorithms", "pages_live", "engine", "exposure",
    "personalised", "label_counts", "children", "gradient_ascent", "grid_workers", "dlg",
    "glossary", "faults", "filtering_rules", "inverting", "poisons",
)  # fmt: skip


class Files(LoadFileScheduling):
    """Gives each worker a file, and one of them all that drives a browser: it starts one server."""

    BROWSER = re.compile("test_(journeys_.*|lively|accessibility)[.]py")

    def _split_scope(self, nodeid: str) -> str:
        file = super()._split_scope(nodeid)
        return "browser" if self.BROWSER.search(file) else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> Files | None:
    return Files(config, log) if config.getvalue("dist") == "loadfile" else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    place = {f"test_{name}": number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))
