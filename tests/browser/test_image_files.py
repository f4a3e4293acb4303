"""Figures as files, drawn by a browser that needs no network, and charts that name their files."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import plotly.graph_objects as go
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from lab import ROOT
from lab.common.settings import SettingError
from lab.figures.image_files import CHROMIUM, NEEDED, browser, prints
from lab.figures.style import dress

NOBODY = str(ROOT / "nowhere" / "chromium")


@pytest.mark.browser
def test_a_figure_is_an_svg_with_text_and_a_png_fit_for_print() -> None:
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4], name="a & <b>", showlegend=True))
    found = prints({"one": figure.update_layout(height=300, title="how it went")})
    assert sorted(found) == ["one.png", "one.svg"]
    drawn = found["one.svg"].decode()
    assert re.search(r"<text[^>]*>how it went</text>", drawn)
    assert "<image" not in drawn
    assert not re.findall(r"(?:href|src)=\"http|url\(http", drawn)
    with Image.open(io.BytesIO(found["one.png"])) as picture:
        assert picture.size == (1800, 600)
        assert picture.convert("RGB").getpixel((2, 2)) == (255, 255, 255)
        assert len(picture.convert("RGB").getcolors(1_000_000) or []) > 10


def test_without_a_browser_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CHROMIUM, NOBODY)
    assert browser() is None
    with pytest.raises(SettingError, match=re.escape(NEEDED)):
        prints({"one": go.Figure()})


def test_a_browser_that_does_not_start_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\nexit 3\n")
    broken.chmod(0o755)
    monkeypatch.setenv(CHROMIUM, str(broken))
    with pytest.raises(SettingError, match=f"need a Chromium that works: {broken}"):
        prints({"one": go.Figure()})


def test_the_camera_of_a_chart_saves_an_svg_of_its_name() -> None:
    def page() -> None:
        import plotly.graph_objects as go

        from lab.web.displays.chart import draw

        draw(go.Figure(), "roc of all", "Nothing")

    (chart,) = AppTest.from_function(page, default_timeout=60).run().get("plotly_chart")
    saved = json.loads(chart.proto.config)["toImageButtonOptions"]
    assert saved == {"format": "svg", "filename": "leaklab_roc-of-all"}


def test_a_figure_leaves_its_ground_to_the_theme_that_gives_its_letters() -> None:
    """Streamlit's theme has both; a ground of its own would leave light letters on white paper."""
    drawn = dress(go.Figure(), 300).to_plotly_json()["layout"]
    assert "paper_bgcolor" not in drawn
    assert "color" not in drawn["font"]


def test_every_page_draws_its_charts_in_that_way() -> None:
    pages = [*(ROOT / "pages").glob("*.py"), *(ROOT / "lab" / "web" / "displays").glob("*.py")]
    assert len(pages) > 15
    besides = [path.name for path in pages if ".plotly_chart(" in path.read_text(encoding="utf-8")]
    assert set(besides) <= {"chart.py"}
