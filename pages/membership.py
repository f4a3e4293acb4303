"""Membership: whether a trained model betrays whom it was trained on, and who is betrayed most."""

from __future__ import annotations

import streamlit as st

from lab import figures
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.engine.data.malicious_clients import malicious_clients
from lab.interfaces.privacy_attacks import (
    ActiveMembershipAttack,
    MembershipInferenceAttack,
    PrivacyAttack,
    PropertyInferenceAttack,
    SecretExtractionAttack,
    ServerMembershipAttack,
    SubjectMembershipAttack,
)
from lab.privacy.guarantee import ceiling_of
from lab.scoring.attack_result import AttackResult
from lab.scoring.membership.membership_score import MembershipScore
from lab.storage.job import Job
from lab.web.attack_panel import attack, attacks_of, followed, pick_spy, spies_of
from lab.web.displays import membership_results
from lab.web.displays.chart import draw
from lab.web.run_picker import pick_round, pick_run
from lab.web.session import sights_of, store

EVERY = 0.5  # seconds between two looks at an attack that runs
FAMILIES: dict[str, type[PrivacyAttack]] = {  # who attacks and what for, and the attacks that do
    "an outsider, with the model": MembershipInferenceAttack,
    "the server, over all rounds": ServerMembershipAttack,
    "an active attacker, in the rounds": ActiveMembershipAttack,
    "an outsider, after a person": SubjectMembershipAttack,
    "an outsider, after a secret in text": SecretExtractionAttack,
    "the server, after a property of the data": PropertyInferenceAttack,
}
TARGETS = (0, 1, 2, 4, 8, 16, 32, 64)


def page() -> None:
    st.header("Membership inference", anchor=False)
    st.markdown(
        "Was this very example used for training, this person, this secret? An attack scores each "
        "candidate, and is judged by how much higher it scores members than others like them."
    )
    if (job := pick_run()) is None:
        return
    past = attacks_of(job, tuple(FAMILIES.values()))
    with st.sidebar:
        round = pick_round(job, past)
        family = _pick_family(job, past)
        mine = [one for one in past if isinstance(one.order.attack, family)]
        spy = pick_spy(job, family, mine)
        client = _pick_client(job, mine)
        targets = _pick_targets(job, spy, mine)
        order = AttackRequest(attack=spy, round=round, client=client, targets=targets)
    st.caption(f"Round {round}, {spy.title}, on {job.experiment.title()}. {_cost(order)}")
    attack(
        job,
        order,
        past,
        _watch,
        EVERY,
        "Press Attack to see whether members of the training data stand out.",
    )
    _compared(past)


def _pick_family(job: Job, past: list[Job]) -> type[PrivacyAttack]:
    """Those who attack, with at least one attack in the catalogue; at first the last one."""
    there = [name for name, family in FAMILIES.items() if spies_of(job, family)]
    last = past[0].order.attack if past else None
    start = next((k for k, name in enumerate(there) if isinstance(last, FAMILIES[name])), 0)
    return FAMILIES[st.selectbox("Who attacks", there, start, key=f"who attacks {job.id}")]


def _pick_client(job: Job, past: list[Job]) -> int | None:
    """By whose members the attack is judged; malicious clients have none to betray."""
    last = past[0].order.client if past else None
    bad = malicious_clients(job.experiment.at(job.round))
    honest = [client for client in range(job.experiment.data.clients) if client not in bad]
    whose: list[int | None] = [None, *honest]
    chosen: int | None = st.selectbox(
        "Members are the examples of",
        whose,
        whose.index(last) if last in whose else 0,
        format_func=lambda one: "all honest clients" if one is None else f"client {one}",
        key=f"members of {job.id}",
    )
    return chosen


def _pick_targets(job: Job, spy: PrivacyAttack, past: list[Job]) -> int:
    """How many models like this one are attacked besides; only the released model has likes."""
    if not isinstance(spy, MembershipInferenceAttack):
        return 0
    last = past[0].order.targets if past else 0
    return int(
        st.select_slider(
            "Models like this one to attack besides",
            sorted({*TARGETS, last}),
            last,
            key=f"targets of {job.id}",
            help="Trained by the run's recipe on other halves of the candidates. Together they "
            "have non-members enough for a rate at 0.1 % false positives.",
        )
    )


def _cost(order: AttackRequest) -> str:
    """What the attack has to train before it can ask."""
    spy, rounds = order.attack, f"{order.round} round{'s' * (order.round != 1)} each"
    if isinstance(spy, ActiveMembershipAttack):
        return "It plays the last rounds again, once for each few candidates."
    if isinstance(spy, SecretExtractionAttack):
        return f"It trains the run again with secrets in it, {order.round} rounds."
    if isinstance(spy, PropertyInferenceAttack):
        return "It trains updates of its own on public examples."
    shadows = 0
    if isinstance(
        spy, (MembershipInferenceAttack, ServerMembershipAttack, SubjectMembershipAttack)
    ):
        shadows = spy.needs().shadows
    trained = shadows + order.targets
    if not trained:
        return "It trains nothing of its own."
    return f"It trains {trained} federations of its own, {rounds}, unless they are kept already."


def _watch(id: str, status: str) -> None:
    job = followed(id, status)
    if job.result:
        pictures = store().arrays.get(store().sights(id)[-1].arrays)
        names = store().run(str(job.run)).experiment.data.source.classes
        membership_results.show(AttackResult.read(job.result), pictures, names)
    elif job.active and (seen := sights_of(id)):
        step, steps = seen[-1].body["step"], max(1, seen[-1].body["steps"])
        st.progress(min(1.0, step / steps), f"At work: step {step} of {steps}")


def _compared(past: list[Job]) -> None:
    """All attacks on this run that have ended, each as it was ordered last."""
    results: dict[str, AttackResult] = {}
    for job in past:
        if job.result and isinstance(
            (result := AttackResult.read(job.result)).score, MembershipScore
        ):
            whose = "" if result.client is None else f", client {result.client}"
            name = f"{result.attack}, round {result.round}{whose}"
            changed = ", ".join(f"{key} {value}" for key, value in result.settings.items())
            results.setdefault(f"{name}, {changed}" if changed else name, result)
    if len(results) < 2:
        return
    st.subheader("All attacks on this run", anchor=False)
    st.table([_row(name, result) for name, result in results.items()])
    found = {name: each.find(MembershipScore) for name, each in results.items()}
    exposures = {name: score for name, score in found.items() if score}
    ceiling = ceiling_of(next(iter(results.values())).guarantee)
    draw(figures.rocs(exposures, ceiling), "roc of all attacks", "ROC of all attacks")


def _row(name: str, result: AttackResult) -> dict[str, str]:
    found = result.score
    assert isinstance(found, MembershipScore)
    given = found.strata.given if found.strata else None
    rates = {
        f"TPR at {rate.false_positives:.1%}": "too few"
        if rate.value is None
        else f"{rate.value:.2%}"
        for rate in found.rates
    }
    return {
        "attack": name,
        "AUC": f"{found.auc:.3f} ({found.auc_low:.3f} to {found.auc_high:.3f})",
        **rates,
        "given the label": "" if given is None else f"{given:.3f}",
        "verdict": found.verdict.partition(":")[0],
    }


page()
