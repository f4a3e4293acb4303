"""What the pages share: the store, its workers, and which run this browser is looking at."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Lock
from typing import Any

import streamlit as st
from plotly.graph_objects import Figure
from torch import Tensor

from lab.audits import Audit
from lab.common.settings import SettingError
from lab.engine.data.summary import Portrait, portrait
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import Spy
from lab.jobs.worker import Supervisor
from lab.models.network import Network
from lab.storage.array_disposal import PICTURE
from lab.storage.network_addresses import name_of
from lab.storage.store import Job, Order, Round, Sight, Store
from lab.storage.visitors import COOKIE, HEARTBEAT, is_class, names, visitor_of
from lab.web.plain_text import plain
from lab.web.setting_widgets import settings_of

ANONYMOUS = "visitor"  # in the session's state: in place of a cookie
TROUBLE = "trouble"  # there, too: when something was refused, and why
OFFERED = "offered picture"  # there, too: digest and array of what was uploaded last
SHOWN = 15.0  # seconds that it is shown
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
    store().seen(visitor(), address())


def rounds_of(run: str) -> list[Round]:
    """Its finished rounds; only those that no page has shown yet are read from the store."""
    known = _rounds_of(run)
    with _READING:
        known += store().rounds(run, after=len(known))
    return known[:]


@st.cache_resource(max_entries=64)
def _rounds_of(run: str) -> list[Round]:
    return []


def sights_of(attack: str) -> list[Sight]:
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
def _sights_of(attack: str) -> list[Sight]:
    return []


def picture_of(experiment: Experiment) -> Portrait:
    """The federation of an experiment, computed once."""
    return _portrait(experiment.at(1).to_json())


@st.cache_resource(max_entries=64, show_spinner=False)
def _portrait(text: str) -> Portrait:
    return portrait(Experiment.from_json(text))


@st.cache_resource(max_entries=256, show_spinner=False)
def drawn(name: str, key: tuple[Any, ...], _draw: Callable[[], Figure]) -> Figure:
    """A figure, drawn once for all sessions that look at the same.

    key: all that it shows, in few words, such as the run and how many rounds of it there are
    """
    return _draw()


def pace(every: float) -> float:
    """Seconds between two redraws: so many, and more of them the more visitors are there."""
    return max(every, EACH * store().visitors())


def look_at(run: str | None) -> None:
    """Remember the run on all pages, and in the address, so that a copied link shows it too."""
    if run != st.session_state.get("run"):
        st.session_state.pop(TROUBLE, None)  # it was with another one
    st.session_state["run"] = run
    if run is None:
        st.query_params.clear()
        return
    # With the settings beside, the link means the same on a server that has no such run.
    wanted = {"run": run} | store().run(run).experiment.overrides_as_text()
    if st.query_params.to_dict() != wanted:
        st.query_params.from_dict(wanted)


def looked_at() -> Job | None:
    """The run of the address, or the one seen last; says so where there is none of that id."""
    run = st.query_params.get("run") or st.session_state.get("run")
    if not run:
        return None
    try:
        job = store().run(run)
    except SettingError as error:
        st.warning(plain(error))
        st.session_state["run"] = None
        st.query_params.pop("run", None)
        return None
    look_at(run)
    return job


def may_command(job: Job) -> bool:
    """Whether this visitor may steer, stop, annotate and delete a run or an attack.

    Whoever has only the link may look, attack and branch, each with jobs of its own.
    """
    return store().owner(job.id) in own_names()


def own_names() -> tuple[str, ...]:
    """The names under which this visitor may command jobs."""
    return names(visitor())


def command(act: Callable[..., None], id: str, *more: Any, **named: Any) -> None:
    """For callbacks: do that to a job, if this visitor may.

    A button may have been drawn, or a message from it made up, by whoever may not.
    """
    with refusals():
        if not may_command(store().job(id)):
            raise SettingError(f"{id} is somebody else's: start one like it, or branch from it")
        act(id, *more, **named)


@contextmanager
def refusals(beside: str = "") -> Iterator[None]:
    """For callbacks: what is refused now is told, and no longer what was refused before.

    What a callback draws itself is lost where only a part of the page is redrawn.

    beside: which of several sweeps on a page
    """
    st.session_state.pop(TROUBLE, None)
    try:
        yield
    except SettingError as error:
        st.session_state[TROUBLE] = (time.monotonic(), sentence(str(error)), beside)


@contextmanager
def in_words() -> Iterator[None]:
    """For what a page draws: what cannot be done is told in its place, and the rest is drawn."""
    try:
        yield
    except SettingError as error:
        st.error(plain(sentence(str(error))))


def trouble(beside: str = "") -> None:
    """What was refused a moment ago; drawn beside the buttons."""
    when, words, where = st.session_state.get(TROUBLE, (0.0, "", ""))
    if words and where == beside and time.monotonic() - when < SHOWN:
        st.error(plain(words))


def resume(id: str, rounds: int | None = None) -> None:
    """As the store does, within the limits of this visitor; for `command`."""
    store().resume(id, rounds, visitor())


def started(experiment: Experiment, rounds: int | None = None) -> str:
    """The new run of this visitor; empty, and said, where it may have no more."""
    with refusals():
        return store().create(experiment, rounds, visitor=visitor())
    return ""


def visible_runs() -> list[Job]:
    """The visitor's own runs, and the one that it looks at by a link, the newest first."""
    mine, now = store().runs(visitor=visitor()), looked_at()
    return mine if now is None or now.id in {job.id for job in mine} else [now, *mine]


def pick_run() -> Job | None:
    """A select box of all runs that have finished a round; explains what to do without any."""
    found = {job.id: job for job in visible_runs() if job.round}
    if not found:
        st.info("There is no run to attack yet: start one on the Live page first.")
        return None
    now = looked_at()
    ids = list(found)
    chosen = st.sidebar.selectbox(
        "Run",
        ids,
        index=ids.index(now.id) if now and now.id in found else 0,
        format_func=lambda id: f"{id}: {found[id].experiment.title()}, {found[id].round} rounds",
        key="picked run",
    )
    look_at(chosen)
    return found[chosen]


def attacks_of(job: Job, kind: type[Spy] | tuple[type[Spy], ...]) -> list[Job]:
    """The attacks of that kind, or of any of those kinds, on a run: this visitor's own come first.

    Within each of the two groups the newest comes first.  A page preselects what the first one
    attacked.  Attacks on other visitors' pictures are left out.
    """
    seen = store().attacks_on(job.id, own_names())
    found = [one for one in seen if isinstance(one.order.spy, kind)]
    mine = store().owned([one.id for one in found], own_names())
    return sorted(found, key=lambda one: one.id not in mine)


def pick_spy(job: Job, kind: type[Spy], past: list[Job]) -> Spy:
    """A select box of the attacks that suit the model; the settings of the one chosen below."""
    table = spies_of(job, kind)
    last = past[0].order.spy if past else None
    start = list(table).index(last.kind) if last and last.kind in table else 0
    chosen = st.selectbox("Attack", table, start, key=f"spy of {job.id}, {kind.__name__}")
    part = last if last and last.kind == chosen else table[chosen]()
    st.caption(
        f"{part.about()} By {part.attacker}. Knows {part.knows}. Fails on {part.fails}. "
        f"{part.source}."
    )
    if len(type(part).model_fields) == 1:
        return part
    with st.expander("Settings of the attack"):
        values = settings_of(part, "spy")
    return type(part).read({name.removeprefix("spy."): value for name, value in values.items()})


def spies_of(job: Job, kind: type[Spy]) -> dict[str, type[Spy]]:
    """The attacks of that kind that suit the run's model, by name."""
    network = job.experiment.architecture
    return {
        name: part
        for name, part in Spy.table.items()
        if issubclass(part, kind) and _suits(part(), network)
    }


def _suits(spy: Spy, network: Network) -> bool:
    try:
        spy.suits(network)
    except SettingError:
        return False
    return True


def pick_round(job: Job, past: list[Job]) -> int:
    """A slider over the finished rounds, at first where the last attack was, or at the end."""
    if job.round == 1:
        st.caption("Round 1 is the only one finished so far.")
        return 1
    start = min(past[0].order.round, job.round) if past else job.round
    return st.slider("Round", 1, job.round, start, key=f"round of {job.id}")


def attack(
    job: Job,
    order: Order,
    past: list[Job],
    watch: Callable[[str, str], None],
    every: float,
    invitation: str,
) -> None:
    """The button, what came of the newest attack that was ordered just so, and its command line.

    watch: draws an attack by id and status, again every so many seconds while it is at work
    """
    alike = [one for one in past if one.order == order]
    mine = next((one for one in alike if one.active and may_command(one)), None)
    ordered = mine or next(iter(alike), None)
    name = "Audit" if isinstance(order.spy, Audit) else "Attack"
    if mine:
        st.button(f"Stop the {name.lower()}", on_click=command, args=(store().stop, mine.id))
    else:
        st.button(name, type="primary", on_click=_ordered, args=(job.id, order))
        if ordered and ordered.active:
            st.caption("Somebody else has asked for just this, and you see it, too.")
    trouble()
    if ordered is None:
        st.info(invitation)
    else:
        st.fragment(watch, run_every=every if ordered.active else None)(ordered.id, ordered.status)
    _commands(job, order)


def followed(id: str, status: str) -> Job:
    """How far an attack is; once its status changes, the whole page is drawn anew."""
    job = store().job(id)
    if job.status != status:
        st.rerun()
    waits = f", {store().place(id)} before it" if job.status == "queued" else ""
    st.text(f"{STATUS[job.status]}{waits}")
    if job.message:
        st.warning(plain(job.message))
    return job


def offer_picture(picture: Tensor) -> str:
    """Keep an uploaded picture with this page, and nowhere else, until an attack on it is ordered.

    picture: (1, *shape) uint8.  Returns its digest, for the order.
    """
    digest = store().arrays.digest({PICTURE: picture})
    st.session_state[OFFERED] = digest, picture
    return digest


def _ordered(run: str, order: Order) -> None:
    digest, picture = st.session_state.get(OFFERED, (None, None))
    with refusals():
        fresh = picture if order.picture is not None and order.picture == digest else None
        store().attack(run, order, visitor=visitor(), picture=fresh)


def sentence(words: str) -> str:
    """With a capital at the beginning and no other letter touched."""
    return words[:1].upper() + words[1:]


def _commands(job: Job, order: Order) -> None:
    """How to do the same without a browser."""
    st.caption("The same from the command line:")
    st.code(f"{job.experiment.command()}\n{order.command(job.id)}", "bash", wrap_lines=True)
