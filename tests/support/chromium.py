"""A real headless Chromium, and a real server for it, each on its own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Playwright, ViewportSize

from lab import ROOT
from lab.jobs.worker_settings import WORKERS

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDE, PHONE = ViewportSize(width=1280, height=800), ViewportSize(width=390, height=844)
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def launched(playwright: Playwright) -> Browser:
    """Chromium or Chrome as installed; a fresh profile every time."""
    path = os.environ.get("LEAKLAB_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        raise RuntimeError(
            "the browser tests need Chromium: install it (apt install chromium), let "
            "LEAKLAB_CHROMIUM name it, or leave them out with -m 'not browser'"
        )
    return playwright.chromium.launch(executable_path=path, headless=True, args=list(QUIET))


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def served(store_url: str, port: int) -> Iterator[str]:
    """The lab as `leaklab app` serves it.  -> its address"""
    environment = {name: value for name, value in os.environ.items() if name != WORKERS} | {
        "LEAKLAB_DB": store_url,
        "LEAKLAB_IDLE": "20",
        "LEAKLAB_WORKERS": "2",
        "STREAMLIT_SERVER_HEADLESS": "true",
    }
    command = [sys.executable, "-m", "lab.cli", "app", "--port", str(port)]
    server = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        _wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health")
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, 15)
        server.wait(30)


def _wait_until_healthy(address: str) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError(f"{address} never answered")
