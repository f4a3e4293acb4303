"""A run in a real browser while it trains: defences, steps, branches, attacks, and no flicker."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from lab.experiment.setting_names import told
from lab.scoring.reconstruction.image_scorer import ImageScore
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from tests.support.browsing import (
    LONG,
    TINY,
    at_rest,
    back_by,
    choose,
    press,
    run_of,
    start,
    status,
    switch,
    turn_to,
    until,
)

pytestmark = pytest.mark.browser
READ = "Private on the left, read on the right"
# On the first subplot of the curves: the part of the x axis that is shown, and the points drawn.
SHOWN = "plot => [...plot._fullLayout.xaxis.range, plot.data[0].x.length]"


def step(page: Page, store: Store, run: str) -> int:
    """One more round, in the store and on the page.  -> its number"""
    reached = store.job(run).round + 1
    press(page, "Step one round")
    status(page, f"paused, {reached} of")
    assert store.job(run).round == reached
    return reached


def accuracy(page: Page) -> str:
    return page.get_by_test_id("stMetric").filter(has_text="Accuracy").inner_text()


def test_the_first_minute(page: Page, address: str, lab_store: Store) -> None:
    """One button, a leak, a defence, and the leak is gone."""
    page.goto(address)
    press(page, "Show me")
    press(page, "Pause")
    status(page, "paused")
    run = run_of(page)
    leaky = step(page, lab_store, run)
    expect(page.get_by_text(f"Round {leaky}: Exact")).to_be_visible()
    expect(page.get_by_text(READ)).to_be_visible()
    read = page.get_by_role("main").locator("[data-testid=stImage] img")
    assert read.first.evaluate("picture => picture.naturalWidth") > 100

    choose(page, "Differential privacy", "client")
    until(page, lambda: lab_store.job(run).experiment.at(leaky + 1).privacy.kind == "client")
    noisy = step(page, lab_store, run)
    expect(page.get_by_text(f"Round {noisy}: No better than a guess")).to_be_visible()
    before, after = (ImageScore.read(sight.body["score"]) for sight in lab_store.sights(run)[-2:])
    assert before.psnr > 46
    assert after.psnr < after.floor + 3
    (change,) = lab_store.job(run).experiment.changes
    assert (change.round, change.set) == (noisy, {"privacy.kind": "client"})


def test_defences_and_attackers_are_switched_in_mid_run(
    page: Page, address: str, lab_store: Store
) -> None:
    run = start(page, f"{address}/{LONG}")
    until(page, lambda: lab_store.job(run).round > 1)
    for fixed in ("Data set", "How clients differ"):
        expect(page.get_by_role("combobox", name=fixed)).to_be_disabled()
    switch(page, "Secure aggregation")  # while it trains
    until(page, lambda: lab_store.job(run).experiment.changes)
    press(page, "Pause")
    status(page, "paused")
    curves = page.locator(".stPlotlyChart", has_text="accuracy").first
    expect(curves.get_by_text("Secure aggregation: on")).to_be_visible()

    def taken(path: str, value: object) -> None:
        """The next round is the first under the change: in the store, and on the curves."""
        number = lab_store.job(run).round + 1
        until(page, lambda: lab_store.job(run).experiment.changes[-1].round == number)
        assert step(page, lab_store, run) == number
        last = lab_store.job(run).experiment.changes[-1]
        assert (last.round, last.set[path]) == (number, value)
        expect(curves.get_by_text(told(path, value)).first).to_be_visible()

    switch(page, "Secure aggregation")
    taken("secure_aggregation.enabled", False)
    choose(page, "Differential privacy", "client")
    taken("privacy.kind", "client")
    expect(page.get_by_text("Epsilon spent").first).to_be_visible()
    page.get_by_role("slider", name="Target epsilon").press("ArrowLeft")
    taken("privacy.epsilon", 5.0)
    choose(page, "Differential privacy", "none")  # its promise is about the mean
    taken("privacy.kind", "none")
    number = page.get_by_role("spinbutton", name="Malicious clients")
    number.fill("1")
    number.press("Enter")
    taken("adversary.count", 1)
    choose(page, "Aggregation rule", "Median")
    taken("aggregation.rule.kind", "median")
    assert len(lab_store.job(run).experiment.changes) == 7


def test_steps_back_in_time_and_a_branch(page: Page, address: str, lab_store: Store) -> None:
    page.goto(f"{address}/{TINY}")
    press(page, "Step one round")
    run = run_of(page)
    status(page, "paused, 1 of 30")
    shown = [accuracy(page)]
    for _ in range(3):
        step(page, lab_store, run)
        shown.append(accuracy(page))
    past = [each.record for each in lab_store.rounds(run)]
    assert shown == [f"Accuracy\n\n{record.accuracy:.1%}" for record in past]

    back_by(page, "Back to round", 2)
    page.get_by_role("button", name="Branch from round 2").wait_for()
    expect(
        page.get_by_test_id("stMetric").filter(has_text=f"{past[1].accuracy:.1%}")
    ).to_be_visible()
    press(page, "Branch from round 2")
    status(page, "paused, 2 of 30")
    branch = run_of(page)
    assert branch != run
    choose(page, "Aggregation rule", "Median")
    until(page, lambda: lab_store.job(branch).experiment.at(3).aggregation.rule.kind == "median")
    step(page, lab_store, branch)
    records = [each.record for each in lab_store.rounds(branch)]
    assert records[:2] == past[:2]
    assert records[2] != past[2]
    assert [each.record for each in lab_store.rounds(run)] == past


def test_both_attacks_on_a_run_that_still_trains(
    page: Page, address: str, lab_store: Store
) -> None:
    run = start(page, f"{address}/{LONG}")
    until(page, lambda: lab_store.job(run).round > 1)
    turn_to(page, "Gradient inversion")
    choose(page, "Attack", "First-layer inversion")
    press(page, "Attack")
    expect(page.get_by_text("Private on the left, reconstructed on the right")).to_be_visible()
    expect(page.get_by_text("finished")).to_be_visible()
    turn_to(page, "Membership")
    press(page, "Attack")
    expect(page.get_by_text("finished")).to_be_visible()
    expect(page.get_by_text("AUC", exact=True)).to_be_visible()

    assert lab_store.job(run).status == "running"
    RunCommands(lab_store).stop(run)
    membership, inversion = (job.result for job in lab_store.attacks_on(run))
    assert membership is not None
    assert inversion is not None
    assert inversion["score"]["psnr"] > 30
    assert 0 <= membership["score"]["auc"] <= 1


def test_a_live_page_does_not_flicker_and_keeps_the_zoom(
    page: Page, address: str, lab_store: Store
) -> None:
    """What does not change stays the very same, and only the fragment is drawn again."""
    run = start(page, f"{address}/{LONG}")
    curves = page.locator(".js-plotly-plot", has_text="accuracy").first
    expect(curves).to_be_visible()
    at_rest(page)
    still = {
        "heading": page.get_by_role("heading", name="Live federation"),
        "sidebar": page.get_by_test_id("stSidebar"),
        "control": page.get_by_role("combobox", name="Aggregation rule"),
        "button": page.get_by_role("button", name="Pause", exact=True),
        "curves": curves,
        "federation": page.locator(".js-plotly-plot").nth(1),
    }
    for name, element in still.items():
        element.evaluate("(element, name) => { element.tag = name }", name)

    figure = page.get_by_role("figure", name="Accuracy, loss and epsilon by round")
    figure.hover()
    figure.get_by_role("button", name="Zoom in").click()
    until(page, lambda: curves.evaluate(SHOWN)[0] > 1)
    low, high, points = curves.evaluate(SHOWN)
    assert high - low < 1500  # of 2000
    until(page, lambda: curves.evaluate(SHOWN)[2] > points + 20)
    assert curves.evaluate(SHOWN)[:2] == [low, high]
    for name, element in still.items():
        assert element.evaluate("element => element.tag") == name

    below = page.get_by_role("figure", name="Accuracy for each client")
    below.evaluate("one => { one.drawn = 0; one.on('plotly_afterplot', () => one.drawn++) }")
    points = curves.evaluate(SHOWN)[2]
    until(page, lambda: curves.evaluate(SHOWN)[2] > points + 20)
    assert below.evaluate("one => one.drawn") == 0  # out of sight, so that it waits
    below.scroll_into_view_if_needed()
    until(page, lambda: below.evaluate("one => one.drawn"))
    press(page, "Stop")
    status(page, "stopped")
    assert re.search(f"[?&]run={run}", page.url)
