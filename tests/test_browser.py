"""The lab in a real headless Chromium, from the first click to the last, against a real server."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from lab import Experiment
from lab.jobs import pull
from lab.ledger import Ledger
from lab.store import Store
from tests.chromium import free_port, launched, served

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds, on a machine that is busy with other things
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
# One picture an update, so that both attacks have something to find; long enough to be paused.
LINK = (
    "?data.source=faces&data.clients=5&model.kind=lenet&training.rounds=2000"
    "&training.steps=1&training.batch_size=1"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = launched(playwright)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def lab_store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite:///{tmp_path_factory.mktemp('browser') / 'leaklab.db'}"


@pytest.fixture(scope="module")
def address(lab_store: str) -> Iterator[str]:
    with served(lab_store, free_port()) as url:
        yield url


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A fresh browser window that counts errors as failures."""
    context = browser.new_context(viewport=WIDE)  # type: ignore[arg-type]
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request", lambda request: errors.append(request.url) if outside(request.url) else None
    )
    yield opened
    context.close()
    assert errors == []


def outside(url: str) -> bool:
    """Whether a request leaves this machine."""
    return url.startswith("http") and "//127.0.0.1" not in url


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def turn_to(page: Page, name: str) -> None:
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name).wait_for()


def choose(page: Page, label: str, option: str) -> None:
    box = page.get_by_role("combobox", name=label)
    box.scroll_into_view_if_needed()
    page.wait_for_timeout(300)  # a list that opens while the page still scrolls closes again
    box.click()
    page.get_by_role("option", name=option, exact=True).click()


def test_the_whole_journey(page: Page, address: str, lab_store: str) -> None:
    """Start, watch, pause, toggle a defence, resume, stop, attack twice, refresh, find the run."""
    page.goto(f"{address}/{LINK}")
    press(page, "Start")
    expect(page.get_by_text("Accuracy", exact=True)).to_be_visible()
    expect(page.get_by_text("running")).to_be_visible()
    press(page, "Pause")
    expect(page.get_by_text("paused")).to_be_visible()
    store, id = Store(lab_store), page.url.partition("run=")[2]
    reached = store.job(id).round
    assert reached >= 1

    choose(page, "Aggregation rule", "median")
    expect(page.get_by_text("-s 'changes=[")).to_be_visible()
    press(page, "Step one round")
    expect(page.get_by_text(f"paused, {reached + 1} of 2000")).to_be_visible()
    (change,) = store.job(id).experiment.changes
    assert (change.round, change.set) == (reached + 1, {"rule.kind": "median"})
    press(page, "Resume")
    expect(page.get_by_text("running")).to_be_visible()
    press(page, "Stop")
    expect(page.get_by_text("stopped")).to_be_visible()
    assert store.job(id).round > reached + 1

    turn_to(page, "Gradient inversion")
    press(page, "Attack")
    expect(page.get_by_text("Private on the left, reconstructed on the right")).to_be_visible()
    expect(page.get_by_text("finished")).to_be_visible()
    expect(page.get_by_text("Best guess without the gradient").first).to_be_visible()
    result = store.attacks_on(id)[0].result
    assert result is not None
    assert result["likeness"]["psnr"] > 30

    turn_to(page, "Membership")
    press(page, "Attack")
    expect(page.get_by_text("finished")).to_be_visible()
    expect(page.get_by_text("AUC", exact=True)).to_be_visible()

    page.goto(f"{address}/?run={id}")
    expect(page.get_by_text("stopped")).to_be_visible()
    page.reload()
    expect(page.get_by_text("Accuracy", exact=True)).to_be_visible()
    assert id in page.url


def test_a_link_opens_the_same_run_in_another_browser_and_after_a_restart(
    page: Page, browser: Browser, tmp_path: Path
) -> None:
    url, port = f"sqlite:///{tmp_path / 'leaklab.db'}", free_port()
    with served(url, port) as address:
        page.goto(f"{address}/{LINK}")
        press(page, "Start")
        expect(page.get_by_text("Accuracy", exact=True)).to_be_visible()
        link = page.url
        other = browser.new_page()
        other.goto(link)
        expect(other.get_by_text("Accuracy", exact=True)).to_be_visible(timeout=PATIENCE)
        before = Store(url).runs()[0].round
    with served(url, port):  # the worker went on meanwhile
        other.goto(link)
        expect(other.get_by_text("Accuracy", exact=True)).to_be_visible(timeout=PATIENCE)
        press(other, "Stop")
        expect(other.get_by_text("stopped")).to_be_visible(timeout=PATIENCE)
        assert Store(url).runs()[0].round >= before
        other.close()


def press_by_keyboard(page: Page, name: str) -> None:
    """Tab on to the button, and press Enter."""
    button = page.get_by_role("button", name=name, exact=True)
    button.wait_for()
    for _ in range(80):
        page.keyboard.press("Tab")
        if button.evaluate("button => button === document.activeElement"):
            page.keyboard.press("Enter")
            return
    pytest.fail(f"Tab never came to the {name} button")


def test_everything_is_within_reach_of_the_keyboard(page: Page, address: str) -> None:
    page.goto(f"{address}/{LINK}")
    press_by_keyboard(page, "Start")
    expect(page.get_by_text("Accuracy", exact=True)).to_be_visible()
    stop = page.get_by_role("button", name="Stop", exact=True)
    stop.focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("stopped")).to_be_visible()


def test_an_attack_on_secure_aggregation_is_within_reach_of_the_keyboard(
    page: Page, address: str, lab_store: str
) -> None:
    masked = {"model": "mlp", "training.rounds": 1, "secure_aggregation.enabled": True}
    tiny = {"data.source": "digits", "data.clients": 4, "data.examples": 100}
    store = Store(lab_store)
    ledger = Ledger(store)
    job = ledger.start(Experiment().changed(tiny | masked))
    deque(pull(ledger, job), maxlen=0)
    page.goto(f"{address}/aggregation?run={job.id}")
    press_by_keyboard(page, "Attack")
    expect(page.get_by_text("finished")).to_be_visible()
    expect(page.get_by_text("Cosine of the mean")).to_be_visible()


@pytest.mark.parametrize(
    "path", ["", "inversion", "leaks", "membership", "malicious", "aggregation", "budget"]
)
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_no_page_is_wider_than_the_window(
    page: Page, address: str, path: str, size: dict[str, int]
) -> None:
    page.set_viewport_size(size)  # type: ignore[arg-type]
    page.goto(f"{address}/{path}")
    page.get_by_role("heading").first.wait_for()
    page.wait_for_timeout(1500)
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    assert page.get_by_text("Traceback").count() == 0
