"""Prints: figures as SVG and PNG files, all drawn by one Chromium that reaches no network."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock

import plotly.graph_objects as go
from choreographer.browsers.chromium import Chromium
from kaleido import Kaleido
from kaleido.errors import BrowserClosedError, BrowserFailedError, ChromeNotFoundError

from lab.common.settings import SettingError
from lab.figures.style import on_paper

CHROMIUM = "LEAKLAB_CHROMIUM"
NEEDED = (
    "figures as files need Chromium or Chrome: install it (apt install chromium), or let "
    f"{CHROMIUM} name it"
)
WIDTH, SCALE = 900, 2  # pixels of a figure; PNGs have 1800, enough for print and for slides
LONGEST = 300  # seconds for all figures of an export
# Nothing listens there, and all that the browser might ask the world for goes there.
NOWHERE = "http://127.0.0.1:9"
_ONE = Lock()  # browser at a time: a class may export all at once


def browser() -> str | None:
    """Where Chromium, Chrome or one of their kin is installed.  None is ever downloaded."""
    path = os.environ.get(CHROMIUM) or Chromium.find_browser(skip_local=False)
    return path if path and Path(path).is_file() else None


def prints(figures: Mapping[str, go.Figure]) -> dict[str, bytes]:
    """Each as name.svg, its text as text, and as name.png.

    Raises SettingError where no browser is, or where it does not start.
    """
    path = browser()
    if path is None:
        raise SettingError(NEEDED)
    try:
        with _ONE:
            return asyncio.run(asyncio.wait_for(_drawn(path, figures), LONGEST))
    except (BrowserFailedError, BrowserClosedError, ChromeNotFoundError, TimeoutError) as error:
        why = type(error).__name__
        raise SettingError(f"figures as files need a Chromium that works: {path}, {why}") from None


async def _drawn(path: str, figures: Mapping[str, go.Figure]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    # MathJax would come from the network.
    async with Kaleido(path=path, mathjax=False, proxy_server=NOWHERE) as artist:
        for name, figure in figures.items():
            paper = on_paper(figure)
            for kind, scale in (("svg", 1), ("png", SCALE)):
                options = {"format": kind, "width": WIDTH, "scale": scale}
                found[f"{name}.{kind}"] = await artist.calc_fig(paper, options)
    return found
