"""What the pages share: the store, its workers, and which run this browser is looking at."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import streamlit as st
from plotly.graph_objects import Figure

from lab.common.settings import SettingError
from lab.engine.data.summary import FederationSummary, summarise
from lab.experiment.experiment import Experiment
from lab.jobs.supervisor import Supervisor
from lab.storage.job import StoredProgress, StoredRound
from lab.storage.store import Store
from lab.web.plain_text import plain

EACH = 0.05  # seconds that a redraw of one visitor's page may take, for all to have theirs in time
_READING = Lock()  # sessions of one server share what they read
STATUS = {  # a sign and a word, never a colour alone
    "queued": "◔ queued",
    "running": "● running",
    "paused": "❚❚ paused",
    "stopped": "■ stopped",
    "finished": "✔ finished",
    "failed": "✖ failed",
}


@st.cache_resource
def store() -> Store:
    """One for all sessions of this server.  Raises StoreError."""
    return Store()


@st.cache_resource
def supervisor() -> Supervisor:
    """Starts the workers; a page calls it before it needs them."""
    return Supervisor(store())


def rounds_of(run: str) -> list[StoredRound]:
    """Its finished rounds; only those that no page has shown yet are read from the store."""
    known = _rounds_of(run)
    with _READING:
        known += store().rounds(run, after=len(known))
    return known[:]


@st.cache_resource(max_entries=64)
def _rounds_of(run: str) -> list[StoredRound]:
    return []


def sights_of(attack: str) -> list[StoredProgress]:
    """The glimpses of an attack; only those that no page has shown yet are read from the store."""
    known = _sights_of(attack)
    with _READING:
        last = known[-1] if known else None
        fresh = store().sights(attack, after=last.number - 1 if last else 0)
        if last and fresh[:1] != [last]:  # a worker died, and the attack began anew
            known.clear()
            fresh = store().sights(attack)
        known += fresh[1:] if known else fresh
    return known[:]


@st.cache_resource(max_entries=16)
def _sights_of(attack: str) -> list[StoredProgress]:
    return []


def picture_of(experiment: Experiment) -> FederationSummary:
    """The federation of an experiment, computed once."""
    return _portrait(experiment.at(1).to_json())


@st.cache_resource(max_entries=64, show_spinner=False)
def _portrait(text: str) -> FederationSummary:
    return summarise(Experiment.from_json(text))


@st.cache_resource(max_entries=256, show_spinner=False)
def cached_figure(name: str, key: tuple[Any, ...], _draw: Callable[[], Figure]) -> Figure:
    """A figure, drawn once for all sessions that look at the same.

    key: all that it shows, in few words, such as the run and how many rounds of it there are
    """
    return _draw()


def pace(every: float) -> float:
    """Seconds between two redraws: so many, and more of them the more visitors are there."""
    return max(every, EACH * store().visitors())


@contextmanager
def in_words() -> Iterator[None]:
    """For what a page draws: what cannot be done is told in its place, and the rest is drawn."""
    try:
        yield
    except SettingError as error:
        st.error(plain(sentence(str(error))))


def sentence(words: str) -> str:
    """With a capital at the beginning and no other letter touched."""
    return words[:1].upper() + words[1:]
