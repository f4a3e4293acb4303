"""`make screenshots`: every page of the menu, of real runs, in a headless Chromium.

README's pictures lie beside this file.  All pages from top to bottom, on a wide window and on a
phone's, go into `screens`, to be looked at and not to be kept.
"""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit

from PIL import Image
from playwright.sync_api import Browser, Page, ViewportSize, sync_playwright

from lab import ROOT
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.experiment.experiment import Experiment
from lab.experiment.presets import leaks, tradeoffs
from lab.jobs.attack_job import carry_out_attack
from lab.jobs.local_sweep import run_sweep_locally
from lab.jobs.run_job import carry_out_run
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.storage.worker_store import WorkerStore
from lab.sweeps.sweep import Sweep
from lab.sweeps.tradeoff_study import Study
from lab.web.passphrase import ADMIN
from tests.support.chromium import PHONE, WIDE, free_port, launched, served

HERE = Path(__file__).parent
SCREENS = HERE / "screens"
PASSPHRASE = "of the screenshots"
SETTLE = 4000  # milliseconds until all of the figures are drawn
PATIENCE = 120_000  # milliseconds, on a machine that is busy with other things
HIGHEST = 6000  # pixels of a picture
DRAWN = ".main-svg, [data-testid=stImage], [data-testid=stDataFrame], figure img, details"


@dataclass(frozen=True)
class Shot:
    """A page, the run it shows, words that the whole page has, and whether README shows it."""

    run: str = ""
    ready: str = "finished"
    kept: bool = True


SHOTS = {  # by the end of its address
    "": Shot("attackers"),
    "server": Shot("leaky", "More attacks, and every score"),
    "tradeoff": Shot(ready="Look closer at"),
    "runs": Shot("private", "Choose a run", kept=False),
    "inversion": Shot("photos"),
    "leaks": Shot(ready="Private on the left"),
    "membership": Shot("overfitted"),
    "malicious": Shot("shouted", "Rules against"),
    "aggregation": Shot("masked", "Attack it"),
    "budget": Shot("private", "Stretch by stretch"),
    "audit": Shot("audited"),
    "how": Shot(ready="Clients may lie"),
    "glossary": Shot(ready="Glossary", kept=False),
    "admin": Shot(ready="Passphrase", kept=False),
}


def main() -> None:
    """With names of pages as arguments, of those only."""
    SCREENS.mkdir(exist_ok=True)
    os.environ[ADMIN] = PASSPHRASE
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        url = f"sqlite:///{folder}/leaklab.db"
        runs = prepared(WorkerStore(Store(url)))
        browser = launched(playwright)
        with served(url, free_port()) as address:
            menu = in_menu(browser, address)
            if menu != set(SHOTS):
                raise SystemExit(f"the menu and SHOTS differ in {sorted(menu ^ set(SHOTS))}")
            for path in sys.argv[1:] or SHOTS:
                show(browser, address, path, runs)
        browser.close()


def prepared(ledger: WorkerStore) -> dict[str, str]:
    """Everything that the pictures show.  -> ids of runs by name"""
    runs = {
        "attackers": trained(ledger, "malicious-median", {"training.rounds": 20}),
        "photos": trained(ledger, "faces", {"data.source": "photos", "training.rounds": 5}),
        "leaky": trained(ledger, "first-minute", {"training.rounds": 2}),
        "overfitted": trained(ledger, "overfitted", {}),
        "private": trained(ledger, "dp-8", {"training.rounds": 10}),
        "shouted": trained(ledger, "backdoor", {"training.rounds": 6}),
        "masked": trained(ledger, "secure-aggregation", {"training.rounds": 3}),
        "audited": trained(ledger, "audit", {}),
    }
    attack(ledger, runs["masked"], AttackRequest.read({"kind": "sybils", "round": 3}))
    attack(ledger, runs["photos"], AttackRequest.read({"kind": "idlg", "round": 2, "client": 3}))
    attack(ledger, runs["overfitted"], AttackRequest.read({"kind": "loss-threshold", "round": 30}))
    attack(ledger, runs["audited"], AttackRequest.read({"kind": "one-run", "round": 20}))
    swept(ledger, Sweep.from_file(leaks()["batch"]))
    swept(ledger, Study.from_file(tradeoffs()["defences"]).sweep)
    return runs


def trained(ledger: WorkerStore, preset: str, changes: dict[str, object]) -> str:
    """-> the id of the finished run"""
    experiment = Experiment.from_file(ROOT / "experiments" / f"{preset}.toml").changed(changes)
    job = ledger.start(experiment)
    deque(carry_out_run(ledger, job), maxlen=0)
    return job.id


def attack(ledger: WorkerStore, run: str, order: AttackRequest) -> None:
    deque(carry_out_attack(ledger, ledger.start_attack(run, order)), maxlen=0)


def swept(ledger: WorkerStore, sweep: Sweep) -> None:
    deque(run_sweep_locally(SweepRuns(ledger.store, sweep), os.cpu_count() or 1), maxlen=0)


def in_menu(browser: Browser, address: str) -> set[str]:
    """The ends of all addresses that the menu leads to."""
    page: Page = browser.new_page(viewport=WIDE)
    page.goto(address)
    page.locator("[data-test-script-state=notRunning]").wait_for()  # a menu closes as pages change
    page.get_by_test_id("stTopNavSection").first.wait_for()
    found = set(links(page))
    for section in page.get_by_test_id("stTopNavSection").all():
        section.click()
        page.get_by_role("menuitem").first.wait_for()
        found |= set(links(page))
        page.keyboard.press("Escape")
    page.close()
    return found


def links(page: Page) -> Iterator[str]:
    for link in (
        page.get_by_test_id("stTopNavDropdownLink").or_(page.get_by_test_id("stTopNavLink")).all()
    ):
        yield urlsplit(str(link.get_attribute("href"))).path.strip("/")


def show(browser: Browser, address: str, path: str, runs: dict[str, str]) -> None:
    """A page in all its pictures."""
    shot, name = SHOTS[path], path or "live"
    url = f"{address}/{path}?run={runs[shot.run]}" if shot.run else f"{address}/{path}"
    page: Page = browser.new_page(viewport=WIDE)
    page.set_default_timeout(PATIENCE)
    page.goto(url)
    page.get_by_text(shot.ready).first.wait_for()
    if path == "admin":
        page.get_by_label("Passphrase").fill(PASSPHRASE)
        page.get_by_role("button", name="Open").click()
        page.get_by_text("Forget runs").wait_for()
    page.locator(DRAWN).first.wait_for()
    page.wait_for_timeout(SETTLE)
    if shot.kept:
        picture(page, HERE / f"{name}.png")
    whole(page, name, WIDE)
    if path == "":
        page.emulate_media(color_scheme="dark")
        page.wait_for_timeout(SETTLE)
        whole(page, f"{name}-dark", WIDE)
        page.emulate_media(color_scheme="light")
    page.set_viewport_size(PHONE)
    page.wait_for_timeout(SETTLE)
    whole(page, f"{name}-phone", PHONE)
    page.close()


def whole(page: Page, name: str, size: ViewportSize) -> None:
    """From top to bottom, in a window as high as the page."""
    high = page.evaluate("document.querySelector('.stMain').scrollHeight")
    page.set_viewport_size({"width": size["width"], "height": min(HIGHEST, high + 80)})
    page.wait_for_timeout(SETTLE // 2)
    picture(page, SCREENS / f"{name}.png")
    page.set_viewport_size(size)


def picture(page: Page, path: Path) -> None:
    """In 256 colours: a third of the bytes, and no difference that one could see."""
    full = Image.open(BytesIO(page.screenshot())).convert("RGB")
    full.quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)


if __name__ == "__main__":
    main()
