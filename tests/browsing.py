"""What the browser tests share: a browser, a server, fresh windows, and what a visitor does."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lab.store import Store
from tests.chromium import WIDE, free_port, launched, served

PATIENCE = 60_000  # milliseconds, on a machine that is busy with other things
# One picture an update, so that attacks have something to find, and rounds of some milliseconds.
TINY = (
    "?data.source=digits&data.clients=4&data.examples=100&model.kind=mlp&model.hidden=32"
    "&training.steps=1&training.batch_size=1"
)
# A run that nobody sees the end of: rounds of a tenth of a second.
LONG = (
    TINY.replace("digits&", "fashion-mnist&").replace("hidden=32", "hidden=256")
    + "&training.rounds=2000"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = launched(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def store_of_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('browser') / 'leaklab.db'}")
    yield store
    store.engine.dispose()


@pytest.fixture(scope="module")
def lab_store(store_of_all: Store) -> Iterator[Store]:
    """The truth behind the pages; what still trains at the end is stopped."""
    yield store_of_all
    for run in store_of_all.runs():
        for job in (run, *store_of_all.attacks_on(run.id)):
            if job.active:
                store_of_all.stop(job.id)


@pytest.fixture(scope="session")
def address(store_of_all: Store) -> Iterator[str]:
    """One server for the journeys of all files."""
    with served(store_of_all.url, free_port()) as url:
        yield url


@pytest.fixture
def visitor(browser: Browser) -> Iterator[Callable[[], Page]]:
    """Opens a window of another visitor at each call; errors in any of them are failures."""
    opened: list[Page] = []
    errors: list[str] = []
    expect.set_options(timeout=PATIENCE)

    def window() -> Page:
        page = browser.new_context(viewport=WIDE, reduced_motion="reduce").new_page()
        page.set_default_timeout(PATIENCE)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on("request", lambda sent: errors.append(sent.url) if outside(sent.url) else None)
        opened.append(page)
        return page

    yield window
    for page in opened:
        page.context.close()
    assert errors == []


@pytest.fixture
def page(visitor: Callable[[], Page]) -> Page:
    """A fresh browser window that counts errors as failures."""
    return visitor()


def outside(url: str) -> bool:
    """Whether a request leaves this machine."""
    return url.startswith("http") and "//127.0.0.1" not in url


def start(page: Page, url: str) -> str:
    """Start the run that a link describes.  -> its id"""
    page.goto(url)
    press(page, "Start")
    return run_of(page)


def run_of(page: Page) -> str:
    """The id of the run that the address names, once it does."""
    page.wait_for_url(re.compile("[?&]run="))
    return parse_qs(urlsplit(page.url).query)["run"][0]


def until(page: Page, condition: Callable[[], object]) -> None:
    """Look at what no page shows, such as the store, until it is so."""
    end = time.monotonic() + PATIENCE / 1000
    while not condition():
        assert time.monotonic() < end, "it never came about"
        page.wait_for_timeout(100)  # the browser goes on meanwhile


def at_rest(page: Page) -> None:
    """Until the page's script has come to its end."""
    expect(page.get_by_test_id("stApp")).to_have_attribute("data-test-script-state", "notRunning")


def status(page: Page, word: str) -> None:
    """Until the page says how the run is."""
    expect(page.get_by_test_id("stProgress").get_by_text(word)).to_be_visible()


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def turn_to(page: Page, name: str, menu: str = "Attacks") -> None:
    """By its menu, which closes when the page behind it is drawn anew."""
    at_rest(page)
    press(page, menu)
    page.get_by_role("menuitem", name=name).click()
    page.get_by_role("heading", name=name).first.wait_for()


def choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_role("combobox", name=label)
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # a list that opens while the page still scrolls closes again
    box.click()
    page.get_by_role("option", name=option, exact=True).click()


def switch(page: Page, label: str) -> None:
    """Turn a toggle on or off."""
    page.get_by_test_id("stCheckbox").filter(has_text=label).locator("label").first.click()


def back_by(page: Page, label: str, steps: int) -> None:
    """Move a slider to the left."""
    slider = page.get_by_role("slider", name=label)
    for _ in range(steps):
        slider.press("ArrowLeft")
