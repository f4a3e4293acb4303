"""The other pages in a real browser: trade-offs, exports, the keyboard alone, a phone."""

from __future__ import annotations

import zipfile
from collections import deque
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from lab import Experiment
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.run_job import carry_out_run
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.worker_store import WorkerStore
from tests.support.browsing import LONG, outside, press, run_of, status, until
from tests.support.chromium import PHONE

pytestmark = pytest.mark.browser
TINY = {
    "data.source": "digits",
    "data.clients": 4,
    "data.examples": 100,
    "training.rounds": 2,
    "training.steps": 1,
    "training.batch_size": 1,
}
# What somebody who cannot use a mouse sees of where they are.
OUTLINED = """element => {
    for (let one = element, k = 0; one && k < 4; one = one.parentElement, k++) {
        const style = getComputedStyle(one);
        if (style.outlineStyle !== "none" && style.outlineWidth !== "0px") return true;
        if (style.boxShadow !== "none") return true;
    }
    return false;
}"""


@pytest.fixture(scope="module")
def finished(lab_store: Store) -> str:
    """A run of nobody's, that everybody sees, with an attack on it."""
    ledger = WorkerStore(lab_store)
    job = ledger.start(Experiment().changed(TINY))
    deque(carry_out_run(ledger, job), maxlen=0)
    order = AttackRequest.read({"kind": "first-layer", "round": 1})
    deque(carry_out_attack(ledger, ledger.start_attack(job.id, order)), maxlen=0)
    return job.id


def test_a_phone_reaches_the_main_controls(page: Page, address: str) -> None:
    page.set_viewport_size(PHONE)
    page.goto(address)
    expect(page.get_by_role("button", name="Show me")).to_be_in_viewport()
    begin = page.get_by_role("button", name="Start", exact=True)
    begin.scroll_into_view_if_needed()
    box = begin.bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    page.get_by_test_id("stExpandSidebarButton").click()
    expect(page.get_by_role("combobox", name="Aggregation rule")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


def tab_to(page: Page, wanted: Locator, most: int = 90) -> None:
    """By the Tab key, and it shows that it is there."""
    wanted.wait_for()
    for _ in range(most):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            if wanted.get_attribute("role") != "combobox":  # those change their border's colour
                assert wanted.evaluate(OUTLINED)
            return
    pytest.fail(f"Tab never came to {wanted}")


def test_the_keyboard_alone(page: Page, address: str, lab_store: Store) -> None:
    """Start, pause, turn to another page, attack."""
    page.goto(f"{address}/{LONG}")
    tab_to(page, page.get_by_role("button", name="Start", exact=True))
    page.keyboard.press("Enter")
    run = run_of(page)
    until(page, lambda: lab_store.job(run).round > 1)
    tab_to(page, page.get_by_role("button", name="Pause", exact=True))
    page.keyboard.press("Space")
    status(page, "paused")
    tab_to(page, page.get_by_role("button", name="Attacks", exact=True))
    page.keyboard.press("Enter")
    first = page.get_by_role("menuitem", name="Gradient inversion")
    first.wait_for()
    for _ in range(3):
        if first.evaluate("item => item === document.activeElement"):
            break
        page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Gradient inversion").wait_for()
    tab_to(page, page.get_by_role("combobox", name="Attack", exact=True))
    page.keyboard.type("First-layer")
    page.keyboard.press("Enter")
    expect(page.get_by_text("First-layer inversion, on")).to_be_visible()
    tab_to(page, page.get_by_role("button", name="Attack", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_text("finished")).to_be_visible()
    (attack,) = lab_store.attacks_on(run)
    assert (attack.status, attack.order.attack.kind) == ("finished", "first-layer")
    RunCommands(lab_store).stop(run)


@pytest.mark.deep
def test_a_trade_off_of_four_combinations(
    page: Page, address: str, lab_store: Store, tmp_path: Path
) -> None:
    page.goto(f"{address}/tradeoff")
    chosen = page.get_by_role("combobox", name="Epsilon")
    chosen.click()
    for left in (2, 1):  # of three values, the last first
        page.keyboard.press("Backspace")
        expect(page.get_by_text(f"{4 * left} combinations, seeds: 2")).to_be_visible()
    page.keyboard.press("Escape")
    page.get_by_role("slider", name="Seeds").press("ArrowLeft")
    page.get_by_role("slider", name="Rounds").press("Home")
    expect(page.get_by_text("4 short runs in the background")).to_be_visible()
    press(page, "Start")
    page.get_by_role("button", name="Open its run on the Live page").wait_for()
    expect(page.get_by_test_id("stProgress")).to_have_count(0)
    points = page.locator(".stPlotlyChart .scatterlayer .point")
    expect(points.first).to_be_visible()
    assert points.count() >= 4
    expect(page.get_by_text("short runs in the background")).to_have_count(0)  # nothing is missing
    with page.expect_download() as download:
        press(page, "Everything")
    download.value.save_as(tmp_path / "tradeoff.zip")
    with zipfile.ZipFile(tmp_path / "tradeoff.zip") as archive:
        assert archive.testzip() is None
        assert {"study.toml", "tradeoff.html", "figures/frontier-auc.svg"} <= {*archive.namelist()}
    press(page, "Open its run on the Live page")
    status(page, "finished, 1 of 1")
    run = lab_store.run(run_of(page))
    assert (run.status, run.experiment.data.source.kind) == ("finished", "fashion-mnist")


def test_the_report_of_an_export_opens_by_itself(
    page: Page, browser: Browser, address: str, finished: str, tmp_path: Path, lab_store: Store
) -> None:
    page.goto(f"{address}/runs?run={finished}")
    lines = page.get_by_test_id("stDataFrameResizable")
    lines.wait_for()
    lines.click(position={"x": 18, "y": 52})  # the box of the first line
    with page.expect_download() as download:
        press(page, "Everything")
    download.value.save_as(tmp_path / "run.zip")
    with zipfile.ZipFile(tmp_path / "run.zip") as archive:
        archive.extractall(tmp_path)
        assert archive.testzip() is None
    asked: list[str] = []
    with browser.new_context(offline=True) as context:
        report = context.new_page()
        report.on("request", lambda sent: asked.append(sent.url))
        report.goto((tmp_path / "report.html").as_uri())
        report.locator(".main-svg").first.wait_for()
        assert report.locator(".js-plotly-plot .trace").count() > 1
        title = lab_store.run(finished).experiment.title()
        expect(report.get_by_text(title).first).to_be_visible()
        assert report.locator("img").count() >= 1
        assert all(report.locator("img").evaluate_all("all => all.map(one => one.naturalWidth)"))
    assert [url for url in asked if outside(url)] == []


@pytest.mark.deep
def test_an_attack_on_secure_aggregation_by_the_keyboard(
    page: Page, address: str, lab_store: Store
) -> None:
    ledger = WorkerStore(lab_store)
    masked = {"training.rounds": 1, "secure_aggregation.enabled": True}
    job = ledger.start(Experiment().changed(TINY | masked))
    deque(carry_out_run(ledger, job), maxlen=0)
    page.goto(f"{address}/aggregation?run={job.id}")
    tab_to(page, page.get_by_role("button", name="Attack", exact=True))
    page.keyboard.press("Enter")
    expect(page.get_by_text("finished")).to_be_visible()
    expect(page.get_by_text("Cosine of the mean")).to_be_visible()
