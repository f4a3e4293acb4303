"""The server: Streamlit, with a cookie by which a browser finds its own runs again.

The cookie is random, belongs to nobody by name, and is out of reach of scripts.  The store knows
its hash only.
"""

from __future__ import annotations

import secrets
from http.cookies import SimpleCookie

import streamlit as st
from starlette.datastructures import MutableHeaders
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.dataframe_util import convert_anything_to_pandas_df

import lab.web.displays.run_panel  # noqa: F401
from lab import ROOT
from lab.privacy.accounting.accountants import count_elsewhere
from lab.privacy.accounting.child_process import Children
from lab.storage.visitors import COOKIE

# Streamlit imports pandas with its first table.  This is done before anybody comes: what thirty
# browsers begin to import in one instant, some find half done.
convert_anything_to_pandas_df([])
KEPT = 30 * 24 * 3600  # seconds that a browser keeps it


class Visitors:
    """Gives a cookie to a browser that has none."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """As ASGI asks."""
        if scope["type"] != "http" or _known(scope):
            await self.app(scope, receive, send)
            return

        async def with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).append("set-cookie", _fresh(scope["scheme"]))
            await send(message)

        await self.app(scope, receive, with_cookie)


def _known(scope: Scope) -> bool:
    """Only pages give cookies; what a page loads besides comes with one or needs none."""
    headers = dict(scope["headers"])
    return COOKIE.encode() in headers.get(b"cookie", b"") or b"text/html" not in headers.get(
        b"accept", b""
    )


def _fresh(scheme: str) -> str:
    cookie: SimpleCookie = SimpleCookie({COOKIE: secrets.token_urlsafe(24)})
    morsel = cookie[COOKIE]
    morsel["path"], morsel["max-age"], morsel["samesite"] = "/", str(KEPT), "Lax"
    morsel["httponly"] = True
    morsel["secure"] = scheme == "https"
    return morsel.OutputString()


count_elsewhere(Children())  # before any page asks an accountant
app = st.App(
    ROOT / "lab" / "web" / "app.py",
    routes=[Mount("/plotly", StaticFiles(packages=[("plotly", "package_data")]))],
    middleware=[Middleware(Visitors)],
)
