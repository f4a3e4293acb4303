"""The panel that starts an attack and follows it."""

from __future__ import annotations

from collections.abc import Callable

import streamlit as st

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.audits import Audit
from lab.common.settings import SettingError
from lab.interfaces.privacy_attacks import PrivacyAttack
from lab.models.network import Network
from lab.storage.job import Job
from lab.storage.run_commands import RunCommands
from lab.web.plain_text import plain
from lab.web.session import STATUS, store
from lab.web.setting_widgets import settings_of
from lab.web.uploaded_picture import OFFERED
from lab.web.visitor import catch_refusals, command, may_command, own_names, show_refusal, visitor


def attacks_of(job: Job, kind: type[PrivacyAttack] | tuple[type[PrivacyAttack], ...]) -> list[Job]:
    """The attacks of that kind, or of any of those kinds, on a run: this visitor's own come first.

    Within each of the two groups the newest comes first.  A page preselects what the first one
    attacked.  Attacks on other visitors' pictures are left out.
    """
    seen = store().attacks_on(job.id, own_names())
    found = [one for one in seen if isinstance(one.order.attack, kind)]
    mine = store().owned([one.id for one in found], own_names())
    return sorted(found, key=lambda one: one.id not in mine)


def pick_spy(job: Job, kind: type[PrivacyAttack], past: list[Job]) -> PrivacyAttack:
    """A select box of the attacks that suit the model; the settings of the one chosen below."""
    table = spies_of(job, kind)
    last = past[0].order.attack if past else None
    start = list(table).index(last.kind) if last and last.kind in table else 0
    chosen = st.selectbox(
        "Attack",
        table,
        start,
        format_func=lambda name: table[name].title,
        key=f"attack on {job.id}, {kind.__name__}",
    )
    part = last if last and last.kind == chosen else table[chosen]()
    st.caption(
        f"{part.about()} By {part.attacker}. Knows {part.knows}. Fails on {part.fails}. "
        f"{part.source}."
    )
    if len(type(part).model_fields) == 1:
        return part
    with st.expander("Settings of the attack"):
        values = settings_of(part, "attack")
    return type(part).read({name.removeprefix("attack."): value for name, value in values.items()})


def spies_of(job: Job, kind: type[PrivacyAttack]) -> dict[str, type[PrivacyAttack]]:
    """The attacks of that kind that suit the run's model, by name."""
    network = job.experiment.architecture
    return {
        name: part
        for name, part in PrivacyAttack.table.items()
        if issubclass(part, kind) and suits(part(), network)
    }


def suits(spy: PrivacyAttack, network: Network) -> bool:
    try:
        spy.suits(network)
    except SettingError:
        return False
    return True


def attack(
    job: Job,
    order: AttackRequest,
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
    name = "Audit" if isinstance(order.attack, Audit) else "Attack"
    if mine:
        st.button(
            f"Stop the {name.lower()}", on_click=command, args=(RunCommands(store()).stop, mine.id)
        )
    else:
        st.button(name, type="primary", on_click=_order, args=(job.id, order))
        if ordered and ordered.active:
            st.caption("Somebody else has asked for just this, and you see it, too.")
    show_refusal()
    if ordered is None:
        st.info(invitation)
    else:
        st.fragment(watch, run_every=every if ordered.active else None)(ordered.id, ordered.status)
    commands(job, order)


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


def _order(run: str, order: AttackRequest) -> None:
    digest, picture = st.session_state.get(OFFERED, (None, None))
    with catch_refusals():
        fresh = picture if order.picture is not None and order.picture == digest else None
        RunCommands(store()).attack(run, order, visitor=visitor(), picture=fresh)


def commands(job: Job, order: AttackRequest) -> None:
    """How to do the same without a browser."""
    st.caption("The same from the command line:")
    st.code(f"{job.experiment.command()}\n{order.command(job.id)}", "bash", wrap_lines=True)
