"""The Streamlit frame: navigation between the pages, and what all of them share.

It lies outside the folder of the pages and names them by absolute paths, so that a deep link as
the first visit opens the page within the frame.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import streamlit as st

HERE = Path(__file__).resolve().parent
# Streamlit puts this folder first on the path, where our `jobs` or `views` could shadow others'.
# Taken off in one step: sessions share the path, and one that is built anew from it while another
# session adds to it loses entries for good.
with suppress(ValueError):
    sys.path.remove(str(HERE))

from lab import ROOT  # noqa: E402
from lab.storage.database import StoreError  # noqa: E402
from lab.web.passphrase import passphrase  # noqa: E402
from lab.web.session import in_words, store, supervisor  # noqa: E402
from lab.web.visitor import heartbeat  # noqa: E402

st.set_page_config(page_title="Leaklab", page_icon="💧", layout="wide")
try:
    store()
except StoreError as error:
    st.error(str(error))
    st.stop()
LARGE = "large type"
supervisor()
heartbeat()
st.html(HERE / "style.css")
if st.session_state.get(LARGE):
    st.html(HERE / "projector.css")
PAGES = {
    "": {
        "live": "Live",
        "server": "What the server sees",
        "tradeoff": "Trade-offs",
        "runs": "Runs",
    },
    "Attacks": {
        "inversion": "Gradient inversion",
        "leaks": "What leaks when",
        "membership": "Membership",
        "malicious": "Malicious clients",
        "aggregation": "Secure aggregation",
    },
    "Proofs": {"budget": "Budget", "audit": "Audit"},
    "Learn": {"how": "How it works", "glossary": "Glossary"},
} | ({"Teach": {"admin": "Admin"}} if passphrase() else {})
chosen = st.navigation(
    {
        section: [
            st.Page(ROOT / "pages" / f"{name}.py", title=title, default=name == "live")
            for name, title in pages.items()
        ]
        for section, pages in PAGES.items()
    },
    position="top",
)
with in_words():
    chosen.run()
st.toggle("Large type, for a projector", key=LARGE)
