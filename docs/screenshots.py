"""`make screenshots`: the pictures of README, taken of real runs in a headless Chromium."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from lab import ROOT
from lab.experiment import Experiment
from lab.grid import Grid
from lab.hands import carried_out
from lab.jobs import attacked, pull
from lab.ledger import Ledger
from lab.presets import leaks
from lab.store import Order, Store
from lab.sweep import Sweep
from tests.chromium import free_port, launched, served

HERE = Path(__file__).parent
WINDOW = {"width": 1280, "height": 800}


def main() -> None:
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        url = f"sqlite:///{folder}/leaklab.db"
        ledger = Ledger(Store(url))
        attackers = trained(ledger, "malicious-median", {"training.rounds": 20})
        photos = trained(ledger, "faces", {"data.source": "photos", "training.rounds": 5})
        overfitted = trained(ledger, "overfitted", {})
        private = trained(ledger, "dp-8", {"training.rounds": 10})
        shouted = trained(ledger, "backdoor", {"training.rounds": 6})
        masked = trained(ledger, "secure-aggregation", {"training.rounds": 3})
        attack(ledger, masked, Order.read({"spy": "sybils", "round": 3}))
        attack(ledger, photos, Order.read({"spy": "idlg", "round": 2, "client": 3}))
        attack(ledger, overfitted, Order.read({"spy": "loss-threshold", "round": 30}))
        deque(carried_out(Grid(ledger.store, Sweep.from_file(leaks()["batch"])), 1), maxlen=0)
        browser = launched(playwright)
        with served(url, free_port()) as address:
            picture(browser, f"{address}/?run={attackers}", "live")
            picture(browser, f"{address}/inversion?run={photos}", "inversion")
            picture(browser, f"{address}/membership?run={overfitted}", "membership")
            picture(browser, f"{address}/leaks", "leaks", "Private on the left")
            picture(browser, f"{address}/malicious?run={shouted}", "malicious", "Rules against")
            picture(browser, f"{address}/aggregation?run={masked}", "aggregation", "Attack it")
            picture(browser, f"{address}/budget?run={private}", "budget", "Stretch by stretch")
        browser.close()


def trained(ledger: Ledger, preset: str, changes: dict[str, object]) -> str:
    """-> the id of the finished run"""
    experiment = Experiment.from_file(ROOT / "experiments" / f"{preset}.toml").changed(changes)
    job = ledger.start(experiment)
    deque(pull(ledger, job), maxlen=0)
    return job.id


def attack(ledger: Ledger, run: str, order: Order) -> None:
    deque(attacked(ledger, ledger.start_attack(run, order)), maxlen=0)


def picture(browser: Browser, address: str, name: str, ready: str = "finished") -> None:
    """ready: words that the whole page has"""
    page: Page = browser.new_page(viewport=WINDOW)  # type: ignore[arg-type]
    page.goto(address)
    page.get_by_text(ready).first.wait_for()
    page.locator(".main-svg, [data-testid=stImage], figure img").first.wait_for()
    page.wait_for_timeout(4000)  # until all of the figures are drawn
    page.screenshot(path=HERE / f"{name}.png")
    page.close()


if __name__ == "__main__":
    main()
