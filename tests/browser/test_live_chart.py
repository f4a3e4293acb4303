"""Charts that change where they stand, and tell which of their markers was clicked."""

from __future__ import annotations

import json
import re
from collections import deque
from typing import Any

import pytest
from playwright.sync_api import Page, expect
from streamlit.testing.v1 import AppTest

from lab.experiment.presets import tradeoffs
from lab.jobs.local_sweep import run_sweep_locally
from lab.storage.store import Store
from lab.storage.sweep_runs import SweepRuns
from lab.sweeps.tradeoff_study import Study
from tests.support.browsing import back_by, until

# The numbers of the markers with a ring around them.
RINGED = """({ data }) => {
    const ring = data.at(-1), marks = data.find(trace => trace.customdata);
    return marks.customdata.filter((_, place) => marks.x[place] === ring.x[0]);
}"""
SAVED = """async (chart) => decodeURIComponent(await Plotly.toImage(chart, { format: "svg" }))"""


def shown() -> None:
    """A page with a chart of the numbers 2 and 4."""
    import plotly.graph_objects as go
    import streamlit as st

    from lab.web.displays.live_chart import redraw

    def chosen(number: int) -> None:
        st.session_state["chosen"] = number

    st.session_state.setdefault("chosen", 0)
    marks = go.Scatter(x=[1, 2], y=[3, 4], mode="markers", customdata=[2, 4])
    redraw(go.Figure([go.Scatter(x=[1], y=[2]), marks]), "marks", "Marks", pointed=chosen)


def clicked(sent: Any) -> int:
    """What is chosen after a browser has sent that."""
    app = AppTest.from_function(shown, default_timeout=60).run()
    assert not app.exception
    (chart,) = app.get("bidi_component")
    states = app._tree.get_widget_states()
    event = states.widgets.add(id=f"$$STREAMLIT_INTERNAL_KEY_{chart.proto.id}__events")
    event.json_trigger_value = json.dumps({"event": "pointed", "value": sent})
    app._run(states)
    assert not app.exception
    return int(app.session_state["chosen"])


@pytest.mark.parametrize("number", [2, 4])
def test_a_click_tells_the_number_of_the_marker(number: int) -> None:
    assert clicked(number) == number


@pytest.mark.parametrize("sent", [3, -1, 2.0, "2", True, None, [2], {"2": 2}, "<b>", "../4"])
def test_nothing_else_that_a_browser_sends_is_told(sent: Any) -> None:
    assert clicked(sent) == 0


@pytest.mark.browser
def test_a_click_on_a_point_chooses_it_and_the_chart_stays(
    page: Page, address: str, lab_store: Store
) -> None:
    changed = {"seeds": [0], "epsilons": [0], "training.rounds": 1}
    study = Study.from_file(tradeoffs()["defences"]).changed(changed)
    deque(run_sweep_locally(SweepRuns(lab_store, study.sweep), 1), maxlen=0)
    page.goto(f"{address}/tradeoff")
    back_by(page, "Seeds", 1)
    page.get_by_role("slider", name="Rounds").press("Home")
    there = page.get_by_role("combobox", name="Look closer at")
    expect(there).to_have_value(re.compile("^3: "))
    chart = page.locator(".stPlotlyChart.lively")
    expect(chart.locator(".scatterlayer .point")).to_have_count(5)  # four and the ring
    chart.evaluate("one => { one.same = 1; Plotly.relayout(one, { 'yaxis.range': [0, 1] }); }")
    for place, chosen in ((0, 2), (3, 4), (1, 2)):  # where two coincide, the upper one
        point = chart.locator(".scatterlayer .point").nth(place)
        page.wait_for_timeout(500)  # sooner after the last one it would be a double click
        point.hover(force=True)  # plotly listens on a layer above it
        expect(chart.locator(".hovertext")).to_contain_text(f"{chosen}: ")
        point.click(force=True)
        expect(there).to_have_value(re.compile(f"^{chosen}: "))
        until(page, lambda chosen=chosen: chosen in chart.evaluate(RINGED))
    assert chart.evaluate("one => [one.same, ...one.layout.yaxis.range]") == [1, 0, 1]
    dark, letters = "fill: rgb(23, 22, 20)", "fill: rgb(237, 235, 232)"
    assert dark not in chart.evaluate(SAVED)
    page.emulate_media(color_scheme="dark")
    until(page, lambda: all(one in chart.evaluate(SAVED) for one in (dark, letters)))
