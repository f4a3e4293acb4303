"""The Streamlit frame: navigation between the pages, and what all of them share.

It lies outside the folder of the pages and names them by absolute paths, so that a deep link as
the first visit opens the page within the frame.
"""

from __future__ import annotations

import sys
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
# Streamlit puts this folder first on the path, where our `jobs` or `views` could shadow others'.
sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != HERE]

from lab import ROOT  # noqa: E402
from lab.schema import StoreError  # noqa: E402
from lab.session import store, supervisor  # noqa: E402

st.set_page_config(page_title="Leaklab", page_icon="💧", layout="wide")
try:
    store()
except StoreError as error:
    st.error(str(error))
    st.stop()
supervisor()
st.html("<style>.stMainBlockContainer { padding-top: 3.5rem }</style>")
st.navigation(
    [
        st.Page(ROOT / "pages" / "live.py", title="Live", default=True),
        st.Page(ROOT / "pages" / "inversion.py", title="Gradient inversion"),
        st.Page(ROOT / "pages" / "leaks.py", title="What leaks when"),
        st.Page(ROOT / "pages" / "membership.py", title="Membership"),
        st.Page(ROOT / "pages" / "malicious.py", title="Malicious clients"),
        st.Page(ROOT / "pages" / "aggregation.py", title="Secure aggregation"),
        st.Page(ROOT / "pages" / "budget.py", title="Budget"),
    ],
    position="top",
).run()
