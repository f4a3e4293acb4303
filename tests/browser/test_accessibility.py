"""Accessibility: axe-core on every page, in light and in dark; keyboard, telephone, projector.

The pages show what finished runs and attacks left in the store.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, expect, sync_playwright

from lab import ROOT
from lab.storage.store import Store
from lab.web.passphrase import ADMIN
from tests.support.app_pages import TINY, attack, trained
from tests.support.chromium import free_port, launched, served
from tests.support.depth import few

pytestmark = pytest.mark.browser
PATIENCE = 60_000  # milliseconds, on a machine that is busy with other things
WIDE, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
STILL = (  # what is drawn anew is pale for a moment
    "*, *::before, *::after { transition: none !important; animation: none !important } "
    "[data-stale=true] { opacity: 1 !important }"
)
PASSPHRASE = "whoever looks after a class"
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("[!_]*.py"))
RULES = {  # of axe, by their tags; between light and dark only colours change
    "light": ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"),
    "dark": ("color-contrast",),
}
GRAVE = ("serious", "critical")
MASKED = {"model": "mlp", "secure_aggregation.enabled": True, "secure_aggregation.binding": False}
PRIVATE = {
    "training.batch_size": 200,
    "training.steps": 2,
    "privacy.kind": "example",
    "privacy.epsilon": 4.0,
    "privacy.delta": 1e-5,
}
LIARS = {"adversary.count": 1, "adversary.attack": {"kind": "backdoor"}}


class Known(NamedTuple):
    """A violation that is Streamlit's own, and why it is not ours to mend."""

    rule: str
    selector: str  # of the element, or of one around it
    page: str  # that shows it
    why: str


STREAMLITS = (
    Known(
        "color-contrast",
        '[data-testid="stSelectbox"], [data-testid="stMultiSelect"]',
        "budget",
        "The label of a select box without any option is pale, as that of a control that is "
        "switched off may be; axe does not see that it labels one.",
    ),
)


class Lab(NamedTuple):
    """A server with full pages, and a browser window."""

    address: str
    page: Page
    runs: dict[str, str]  # by page; the others show the one of ""

    def show(self, name: str) -> None:
        run = self.runs.get(name, self.runs[""])
        self.page.goto(f"{self.address}/{'' if name == 'live' else name}?run={run}")
        settled(self.page)
        self.page.add_style_tag(content=STILL)  # or colours are seen on the way from light to dark
        if name == "admin":
            box = self.page.get_by_label("Passphrase")
            if box.count():
                box.fill(PASSPHRASE)
                press(self.page, "Open")
                self.page.get_by_role("heading", name="Forget runs").wait_for()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('axe') / 'leaklab.db'}")
    runs = full(store)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ADMIN, PASSPHRASE)
        with served(store.url, free_port()) as address, sync_playwright() as playwright:
            browser = launched(playwright)
            page = browser.new_page(viewport=WIDE)  # type: ignore[arg-type]
            page.set_default_timeout(PATIENCE)
            expect.set_options(timeout=PATIENCE)
            yield Lab(address, page, runs)
            browser.close()
    store.engine.dispose()


def full(store: Store) -> dict[str, str]:
    """Runs and attacks for every page.  -> the run to show, by page"""
    bare, private, masked = (
        trained(store, TINY.changed(changes)) for changes in (LIARS, LIARS | PRIVATE, MASKED)
    )
    attack(store, bare, "dlg", round=2, client=3)
    attack(store, bare, "loss-threshold", round=2)
    attack(store, private, "one-run", round=2)
    attack(store, masked, "sybils", round=2, client=2)
    return {"": bare, "audit": private, "budget": private, "aggregation": masked}


def settled(page: Page) -> None:
    """Once the script has run, and nothing is a placeholder any more."""
    page.locator('[data-testid="stApp"][data-test-script-state="notRunning"]').wait_for()
    page.get_by_text("Large type, for a projector").wait_for()
    expect(page.get_by_test_id("stSkeleton")).to_have_count(0)


def press(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()


def unfold(page: Page) -> None:
    """Open every expander."""
    page.eval_on_selector_all(
        '[data-testid="stExpander"] details:not([open]) > summary',
        "found => found.forEach(each => each.click())",
    )
    page.wait_for_timeout(300)  # they unfold slowly


FIND = """async only => {
    const found = await axe.run(document, {runOnly: only, resultTypes: ["violations"]})
    return found.violations.flatMap(rule => rule.nodes.map(node => ({
        rule: rule.id,
        impact: rule.impact,
        target: node.target.join(" "),
        html: node.html,
        why: node.failureSummary,
    })))
}"""


def violations(page: Page, only: tuple[str, ...]) -> list[dict[str, str]]:
    """Those that are serious or critical, of the rules with these tags or names."""
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    found = page.evaluate(FIND, only)
    return [each for each in found if each["impact"] in GRAVE]


def known(page: Page, name: str, violation: dict[str, str]) -> Known | None:
    """Which of Streamlit's own on this page it is, if it is one."""
    within = "(element, around) => element.closest(around) !== null"
    for each in STREAMLITS:
        if (each.page, each.rule) == (name, violation["rule"]):
            element = page.locator(violation["target"]).first
            if element.evaluate(within, each.selector):
                return each
    return None


@pytest.mark.parametrize("name", few(PAGES, "live", "budget", "malicious"))
def test_a_page_suits_light_and_dark_and_a_telephone(lab: Lab, name: str) -> None:
    page, ours, streamlits = lab.page, [], set[Known]()
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="light")
    lab.show(name)
    assert page.get_by_test_id("stException").count() == 0
    unfold(page)
    for scheme, rules in RULES.items():
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        expect(page.get_by_test_id("stApp")).to_have_css("color-scheme", scheme)
        for violation in violations(page, rules):
            if its := known(page, name, violation):
                streamlits.add(its)
            else:
                ours.append((scheme, violation["rule"], violation["html"], violation["why"]))
    assert ours == []
    gone = {each for each in STREAMLITS if each.page == name} - streamlits
    assert not gone, "Streamlit has mended these: delete them from STREAMLITS"
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.wait_for_function(f"({TOO_WIDE})().length === 0")


# What scrolls sideways within itself, such as a table, is no wider than the window.
TOO_WIDE = """() => ["html", "[data-testid=stMain]"].filter(
    name => document.querySelector(name).scrollWidth > innerWidth
)"""


def test_charts_have_names_and_stay_whole_in_large_type(lab: Lab) -> None:
    page = lab.page
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    lab.show("malicious")
    charts = page.get_by_test_id("stPlotlyChart")
    assert charts.count() > 3
    assert page.evaluate(CUT_OFF) == []
    small = page.get_by_role("heading").first.bounding_box()
    page.get_by_text("Large type, for a projector").click()
    page.wait_for_function("parseFloat(getComputedStyle(document.documentElement).fontSize) > 20")
    settled(page)
    page.wait_for_function(f"({CUT_OFF})().length === 0")
    large = page.get_by_role("heading").first.bounding_box()
    assert small
    assert large
    assert large["height"] > 1.3 * small["height"]


# Charts without a name, and those that reach beyond their places.
CUT_OFF = """() => [...document.querySelectorAll("[data-testid=stPlotlyChart]")].filter(chart => {
    const place = chart.parentElement.getBoundingClientRect()
    const drawn = chart.querySelector(".main-svg").getBoundingClientRect()
    return !chart.ariaLabel || drawn.right > place.right + 1 || drawn.bottom > place.bottom + 1
}).map(chart => chart.className)"""


def test_menus_and_the_main_button_are_within_reach_of_the_keyboard(lab: Lab) -> None:
    """From the top of the page, by Tab alone, to every page and to Start; and focus can be seen."""
    page = lab.page
    page.set_viewport_size(WIDE)  # type: ignore[arg-type]
    page.goto(lab.address)
    settled(page)
    start = page.get_by_role("button", name="Start", exact=True)
    start.wait_for()
    unfocused, reached, stops = start.evaluate(LOOK), set(links(page)), 0
    while not start.evaluate("button => button === document.activeElement"):
        page.keyboard.press("Tab")
        stops += 1
        assert stops < 200, "Tab never came to Start"
        if page.evaluate("document.activeElement.getAttribute('aria-haspopup')") == "menu":
            page.keyboard.press("Enter")
            page.get_by_role("menuitem").first.wait_for()
            reached |= set(links(page))
            page.keyboard.press("Escape")
            expect(page.get_by_role("menuitem")).to_have_count(0)
    assert reached == {"" if name == "live" else name for name in PAGES}
    assert start.evaluate(LOOK) != unfocused


LOOK = """button => {
    const {outline, boxShadow, borderColor, backgroundColor} = getComputedStyle(button)
    return [outline, boxShadow, borderColor, backgroundColor].join()
}"""


def links(page: Page) -> list[str]:
    """The pages that navigation offers just now."""
    found = "found => found.map(each => new URL(each.href).pathname.slice(1))"
    inside = '[data-testid="stTopNavLink"], [data-testid="stTopNavDropdownLink"]'
    names: list[str] = page.eval_on_selector_all(inside, found)
    return names
