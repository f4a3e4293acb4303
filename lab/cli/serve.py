"""The lab in a browser, and the workers behind it."""

from __future__ import annotations

import os
import signal
from typing import Annotated

import typer

from lab import ROOT
from lab.jobs import worker
from lab.jobs.worker_settings import longest_idle, most_workers
from lab.storage.store import Store
from lab.storage.visitors import CLASS, grace
from lab.web.passphrase import check_open, is_loopback, passphrase


def app(
    host: Annotated[
        str, typer.Option(help="address to serve on; 0.0.0.0 for a class, with a passphrase")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8501,
    for_class: Annotated[
        bool,
        typer.Option(
            "--class", help="others reach it through a proxy: limits hold; --host implies it"
        ),
    ] = False,
) -> None:
    """Open the lab in a browser.

    For a class: LEAKLAB_ADMIN='four words of your own' leaklab app --host 0.0.0.0
    Behind a proxy with TLS: LEAKLAB_ADMIN='four words of your own' leaklab app --class
    """
    check_open(host, for_class)
    if for_class or not is_loopback(host):
        os.environ[CLASS] = "1"
    Store()  # what is wrong with the store or the environment is told here, in a line or two
    most_workers(), longest_idle(), grace(), passphrase()
    os.chdir(ROOT)  # which holds .streamlit/config.toml: no telemetry, no e-mail prompt
    from streamlit.web.cli import main as streamlit

    script = str(ROOT / "lab" / "web" / "server.py")
    streamlit(["run", script, "--server.address", host, "--server.port", str(port)])


def work(token: str) -> None:
    """A worker of the app's queue."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    worker.work(Store(), token)
