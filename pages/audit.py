"""Audit: what the accountant promises, beside what canaries show, round after round."""

from __future__ import annotations

import streamlit as st

from lab import figures
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.audits import AUDITS, Audit, fitting
from lab.audits.audit import AuditedRun
from lab.audits.faults import WORDS, Fault
from lab.common.settings import SettingError
from lab.engine.run import initial_state
from lab.interfaces.privacy_attacks import MembershipInferenceAttack
from lab.privacy.audit_bounds import GAUSSIAN, NOTHING
from lab.privacy.guarantee import AttackCeiling
from lab.scoring.attack_result import AttackResult
from lab.scoring.audit_score import AuditScore
from lab.scoring.membership.membership_score import Curve, MembershipScore
from lab.storage.job import Job
from lab.web.attack_panel import attack, attacks_of, followed
from lab.web.displays.chart import draw
from lab.web.displays.live_chart import redraw
from lab.web.plain_text import plain
from lab.web.run_picker import pick_round, pick_run
from lab.web.session import sentence, sights_of, store
from lab.web.setting_widgets import settings_of

EVERY = 0.5  # seconds between two looks at an audit that runs


def page() -> None:
    st.header("Audit", anchor=False)
    st.markdown(
        "The accountant says how much a run leaks at most. An audit plants canaries and bounds "
        "from below how much it leaks. Each bound names what it assumes. Where a lower bound "
        "passes the claim, the mechanism is not what is claimed."
    )
    if (job := pick_run()) is None:
        return
    past = attacks_of(job, Audit)
    with st.sidebar:
        round = pick_round(job, past)
        spy = _picked(job, past)
    st.caption(f"{spy.title} of rounds 1 to {round}, on {job.experiment.title()}")
    fault: Fault = st.selectbox(
        "Break the mechanism, and see whether the audit notices",
        list(WORDS),
        list(WORDS).index(spy.fault),
        format_func=lambda name: sentence(WORDS[name]),
        key=f"fault of {job.id}",
    )
    order = AttackRequest(attack=spy.model_copy(update={"fault": fault}), round=round)
    try:
        _refuse(job, order)
    except SettingError as error:
        st.warning(plain(sentence(str(error))))
        return
    attack(job, order, past, _watch, EVERY, "Press Audit to see what can be proven of the run.")


def _picked(job: Job, past: list[Job]) -> Audit:
    """The audit that fits what the run promises, or was used last; its settings below."""
    last = past[0].order.attack if past else None
    kind = last.kind if last else fitting(job.experiment.at(job.round))
    start = list(AUDITS).index(kind) if kind in AUDITS else 0
    chosen = st.selectbox(
        "Audit",
        AUDITS,
        start,
        format_func=lambda name: AUDITS[name].title,
        key=f"audit of {job.id}",
    )
    part = last if isinstance(last, Audit) and last.kind == chosen else AUDITS[chosen]()
    st.caption(f"{part.about()} By {part.attacker}. Knows {part.knows}. {part.source}.")
    with st.expander("Settings of the audit"):
        values = settings_of(part, "audit", without=("fault",))
    read = {name.removeprefix("audit."): value for name, value in values.items()}
    return type(part).read(read | {"fault": part.fault})


def _refuse(job: Job, order: AttackRequest) -> None:
    """Raises SettingError where there is nothing to audit."""
    assert isinstance(order.attack, Audit)
    order.attack.suits(job.experiment.architecture)
    order.attack.refuse(
        AuditedRun(job.experiment, order.round, lambda _: initial_state(job.experiment).model)
    )


def _watch(id: str, status: str) -> None:
    job = followed(id, status)
    sights = [each for each in sights_of(id) if "score" in each.body]
    if not sights:
        return
    found = AuditScore.read(sights[-1].body["score"])
    _numbers(found, job.result is not None)
    left, right = st.columns(2)
    rounds = int(sights[-1].body["steps"])
    told = "Epsilon by round: claimed at most, "
    told += "detected" if found.detects else "proven at least"
    redraw(figures.promises(found, rounds), "promises", told, left)
    left.caption(
        "A bound is a line, an estimate a point: about every second estimate is too high. Each "
        f"bound holds with {found.confidence:.0%} confidence for its round by itself."
    )
    if job.result:
        with right:
            _reach(job, found, AttackResult.read(job.result))
    _assumed(found)


def _numbers(found: AuditScore, finished: bool) -> None:
    """finished: before, only an accusation is a verdict"""
    if found.broken:
        st.error(f"{sentence(found.verdict)}.", icon="✖")
    else:
        so_far = f"After round {found.last.round}, and it goes on"
        st.subheader(sentence(found.verdict) if finished else so_far, anchor=False)
    last = found.last
    with st.container(horizontal=True, gap="medium"):
        claimed = "nothing" if last.claimed is None else f"at most {last.claimed:.2f}"
        st.metric("Claimed", claimed, width="content")
        if found.detects:
            st.metric("Broken mechanism", "detected" if found.broken else "not detected")
        elif found.premise != NOTHING:
            told = "Proven, if Gaussian" if found.premise == GAUSSIAN else "Proven"
            st.metric(told, f"at least {last.proven:.2f}", width="content")
        if found.unconditional is not None:
            value = f"at least {found.unconditional:.2f}"
            st.metric("Proven, no assumption", value, width="content")
        st.metric("Delta", f"{found.delta:g}", width="content")
    st.caption(_meant(found))


def _meant(found: AuditScore) -> str:
    """What the numbers are, and what they are not."""
    told = f"Epsilon for one {found.unit}, at delta {found.delta:g}. "
    if found.detects:
        told += (
            "This mechanism is broken on purpose and is not Gaussian as claimed. A bound that "
            "assumes so can detect that something is wrong, and is no lower bound on epsilon. "
        )
    return told + (
        f"Each lower bound holds with {found.confidence:.0%} confidence, from {found.canaries:,} "
        f"canaries of which {found.included:,} were in."
    )


def _reach(job: Job, found: AuditScore, result: AttackResult) -> None:
    """Promise, proof and stored attacks, as false and true positives."""
    guarantee, ceiling = result.guarantee, None
    if guarantee:
        ceiling = AttackCeiling(
            epsilon=guarantee.epsilon, delta=guarantee.delta, profile=guarantee.profile
        )
    attacks = _curves(job) if found.unit == "example" else {}
    figure = figures.reach(ceiling, found.reached, attacks)
    draw(figure, "reach", "False against true positives")
    told = (
        "No test lies above the ceiling, if the promise holds. The audit's tests reach the shade, "
        "if scores are independent."
    )
    if attacks:
        told += " Attacks on the same run's models see less than the auditor, and stay lower."
    elif found.unit == "client":
        told += " Attacks ask about examples, and this promise is to a client: none are drawn."
    else:
        told += " Membership attacks on this run would be drawn as well; none is stored."
    st.caption(told)


def _curves(job: Job) -> dict[str, Curve]:
    """Of the newest attack of each kind on the same run."""
    found: dict[str, Curve] = {}
    for one in store().attacks_on(str(job.run)):
        inferred = isinstance(one.order.attack, MembershipInferenceAttack) and one.result
        exposure = AttackResult.read(one.result).find(MembershipScore) if inferred else None
        if exposure:
            found.setdefault(one.order.attack.kind, exposure.curve)
    return found


def _assumed(found: AuditScore) -> None:
    words = dict.fromkeys(bound.assumption for bound in found.bounds[:1])
    st.markdown(
        f"**Adversary**: {found.adversary}.  \n"
        f"**Assumed**: {'; '.join(words)}.  \n"
        f"**Counted**: {found.bounds[0].evidence}."
    )
    with st.expander("Every bound, and what it assumes"):
        st.table(
            [
                {
                    "method": bound.method,
                    "epsilon at least": f"{bound.epsilon:.2f}"
                    if found.bounding(bound)
                    else f"no bound: looks like {bound.epsilon:.2f}",
                    "premise": bound.premise or "",
                    "assumes": bound.assumption,
                }
                for bound in found.bounds
            ]
        )


page()
