"""A button that gives everything there is, as one archive."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lab.figures.image_files import NEEDED, browser
from lab.web.session import sentence


def everything(archive: Callable[[], bytes], name: str) -> None:
    """Made when it is asked for: a browser draws the figures, and that takes some seconds."""
    st.download_button(
        "Everything",
        archive,
        f"leaklab_{name}.zip",
        "application/zip",
        type="primary",
        on_click="ignore",
    )
    if browser() is None:
        st.caption(f"{sentence(NEEDED)}. Everything else is there.")
