"""Who looks at a page, what this visitor may command, and what was refused."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import streamlit as st

from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.storage.job import Job
from lab.storage.network_addresses import name_of
from lab.storage.run_commands import RunCommands
from lab.storage.visitors import COOKIE, HEARTBEAT, identities, is_class, visitor_of
from lab.web.plain_text import plain
from lab.web.session import sentence, store

ANONYMOUS = "visitor"  # in the session's state: in place of a cookie


TROUBLE = "trouble"  # there, too: when something was refused, and why


SHOWN = 15.0  # seconds that it is shown


def visitor() -> str:
    """Whose browser this is, as the store knows it.

    A browser without cookies is nobody where it is alone with the machine.  In a class it is
    somebody for as long as its page is open, so that limits hold and what it leaves is given up.
    """
    cookie = st.context.cookies.get(COOKIE, "")
    if not cookie and is_class():
        cookie = st.session_state.setdefault(ANONYMOUS, secrets.token_urlsafe(24))
    return visitor_of(cookie)


def address() -> str:
    """The name of the network address of this browser.

    Behind a proxy on this machine that is what the proxy says in X-Forwarded-For; where it says
    nothing, all visitors have one address.
    """
    return name_of(st.context.ip_address)


@st.fragment(run_every=HEARTBEAT)
def heartbeat() -> None:
    """As long as a page is open, what its visitor has asked for is not given up."""
    RunCommands(store()).seen(visitor(), address())


def may_command(job: Job) -> bool:
    """Whether this visitor may steer, stop, annotate and delete a run or an attack.

    Whoever has only the link may look, attack and branch, each with jobs of its own.
    """
    return store().owner(job.id) in own_names()


def own_names() -> tuple[str, ...]:
    """The names under which this visitor may command jobs."""
    return identities(visitor())


def command(act: Callable[..., None], id: str, *more: Any, **named: Any) -> None:
    """For callbacks: do that to a job, if this visitor may.

    A button may have been drawn, or a message from it made up, by whoever may not.
    """
    with catch_refusals():
        if not may_command(store().job(id)):
            raise SettingError(f"{id} is somebody else's: start one like it, or branch from it")
        act(id, *more, **named)


@contextmanager
def catch_refusals(beside: str = "") -> Iterator[None]:
    """For callbacks: what is refused now is told, and no longer what was refused before.

    What a callback draws itself is lost where only a part of the page is redrawn.

    beside: which of several sweeps on a page
    """
    st.session_state.pop(TROUBLE, None)
    try:
        yield
    except SettingError as error:
        st.session_state[TROUBLE] = (time.monotonic(), sentence(str(error)), beside)


def show_refusal(beside: str = "") -> None:
    """What was refused a moment ago; drawn beside the buttons."""
    when, words, where = st.session_state.get(TROUBLE, (0.0, "", ""))
    if words and where == beside and time.monotonic() - when < SHOWN:
        st.error(plain(words))


def resume(id: str, rounds: int | None = None) -> None:
    """As the store does, within the limits of this visitor; for `command`."""
    RunCommands(store()).resume(id, rounds, visitor())


def started(experiment: Experiment, rounds: int | None = None) -> str:
    """The new run of this visitor; empty, and said, where it may have no more."""
    with catch_refusals():
        return RunCommands(store()).create(experiment, rounds, visitor=visitor())
    return ""
