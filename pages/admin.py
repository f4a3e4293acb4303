"""Admin: for whoever looks after a class.  Behind a passphrase."""

from __future__ import annotations

from typing import Any

import streamlit as st

from lab.common.settings import SettingError
from lab.storage.administration import (
    QueuedJob,
    SweepStatus,
    VisitorStatus,
    call_off,
    delete_runs,
    limits_now,
    presences,
    queue,
    set_limits,
    sweeping,
)
from lab.storage.run_commands import RunCommands
from lab.storage.visitors import Limits
from lab.web.passphrase import Gate, passphrase
from lab.web.plain_text import plain
from lab.web.run_picker import run_names
from lab.web.session import sentence, store, supervisor
from lab.web.visitor import address, visitor

OPEN = "admin"  # in the session's state: whether the passphrase was given
EVERY = 2.0  # seconds between two looks
HERE = 90  # seconds since a visitor was last seen that count as being there


def page() -> None:
    st.header("Admin", anchor=False)
    if not passphrase():
        st.info("There is no passphrase, so there is no Admin page: set LEAKLAB_ADMIN and restart.")
        return
    if not st.session_state.get(OPEN):
        _ask()
        return
    st.button("Leave", on_click=st.session_state.pop, args=(OPEN,))
    st.fragment(_queue, run_every=EVERY)()
    st.fragment(_sweeps, run_every=EVERY)()
    st.fragment(_sessions, run_every=EVERY)()
    _limits()
    _runs()


@st.cache_resource
def _gate() -> Gate:
    """One for all sessions, so that a guesser gains nothing by opening another."""
    return Gate()


def _ask() -> None:
    with st.form("passphrase", border=False):
        given = st.text_input("Passphrase", type="password")
        asked = st.form_submit_button("Open")
    if not asked:
        return
    try:
        right = _gate().opens(given, visitor(), address())
    except SettingError as error:
        st.error(plain(error))
        return
    if right:
        st.session_state[OPEN] = True
        st.rerun()
    st.error("That is not the passphrase.")


def _queue() -> None:
    found = queue(store())
    waiting = sum(each.status == "queued" for each in found)
    st.subheader(f"Queue: {len(found) - waiting} at work, {waiting} waiting", anchor=False)
    st.caption(f"{_count(len(supervisor().workers()), 'worker')} of this server.")
    if not found:
        st.caption("Nothing is at work, and nothing waits.")
        return
    st.dataframe([_row(each) for each in found], hide_index=True, alt="The queue")
    chosen = st.multiselect("Jobs to stop", [each.id for each in found], key="to stop")
    st.button("Stop them", disabled=not chosen, on_click=_stop, args=(chosen,))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _row(each: QueuedJob) -> dict[str, Any]:
    return {
        "job": each.id,
        "what": each.kind,
        "visitor": _named(each.visitor),
        "status": each.status,
        "round": each.round,
        "before it": str(each.place) if each.status == "queued" else "",
    }


def _named(visitor: str) -> str:
    return visitor[:8] or "command line"


def _stop(ids: list[str]) -> None:
    for id in ids if st.session_state.get(OPEN) else ():
        RunCommands(store()).stop(id)


def _sweeps() -> None:
    found = sweeping(store())
    st.subheader(f"Sweeps: of {_count(len(found), 'visitor')}", anchor=False)
    if not found:
        return
    st.dataframe([_sweep(each) for each in found], hide_index=True, alt="Sweeps")
    visitors = [each.visitor for each in found]
    chosen = st.multiselect("Sweeps to call off, of", visitors, format_func=_named, key="to call")
    st.button("Call them off", disabled=not chosen, on_click=_call_off, args=(chosen,))
    st.caption("Runs at work are carried to their end; those that others want, too, go on.")


def _sweep(each: SweepStatus) -> dict[str, Any]:
    return {
        "visitor": _named(each.visitor),
        "runs at work": each.running,
        "runs waiting": each.waiting,
    }


def _call_off(visitors: list[str]) -> None:
    if st.session_state.get(OPEN):
        call_off(store(), visitors)


def _sessions() -> None:
    found = presences(store())
    here = sum(each.seen < HERE for each in found)
    st.subheader(f"Visitors: {here} here now", anchor=False)
    if found:
        st.dataframe([_presence(each) for each in found], hide_index=True, alt="Visitors")


def _presence(each: VisitorStatus) -> dict[str, Any]:
    return {
        "visitor": each.visitor[:8],
        "last seen, seconds ago": round(each.seen),
        "jobs at work or waiting": each.active,
        "jobs so far": each.jobs,
    }


def _limits() -> None:
    st.subheader("Limits of one visitor", anchor=False)
    now = limits_now(store())
    with st.form("limits", border=False):
        values = {name: _limit(name, getattr(now, name)) for name in Limits.model_fields}
        if st.form_submit_button("Set"):
            set_limits(store(), Limits.read(values))
            st.toast("They hold from now on.")


def _limit(name: str, now: int) -> int:
    field = Limits.model_fields[name]
    most = max(getattr(bound, "le", 0) for bound in field.metadata)
    label = sentence(str(field.description))
    return int(st.number_input(label, 0, most, now, key=f"limit {name}"))


def _runs() -> None:
    st.subheader("Forget runs", anchor=False)
    ended = {job.id: job for job in store().runs() if not job.active}
    if not ended:
        st.caption("There is no run that has ended.")
        return
    chosen = st.multiselect(
        "Runs, with all attacks on them",
        list(ended),
        format_func=run_names(ended.values()).__getitem__,
        key="to forget",
    )
    everything = st.checkbox(f"All that have ended: {len(ended)}")
    picked = list(ended) if everything else chosen
    st.button(
        f"Forget {len(picked)} for good", disabled=not picked, on_click=_forget, args=(picked,)
    )


def _forget(runs: list[str]) -> None:
    if not st.session_state.get(OPEN):
        return
    try:
        st.toast(f"{delete_runs(store(), runs)} forgotten")
    except SettingError as error:
        st.error(plain(error))


page()
