"""Runs an attack on secure aggregation, with server, truth and score kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from lab.attack_runs.secure_aggregation.malicious_server import (
    check_masked,
    malicious_server,
    true_updates,
)
from lab.attack_runs.shared.assumptions import protection
from lab.attack_runs.shared.attack_request import AttackRequest, target_of
from lab.attack_runs.shared.auxiliary_info import auxiliary_info
from lab.attack_runs.shared.ground_truth import reconstruction_scorer
from lab.attack_runs.shared.run_history import RunHistory
from lab.attack_runs.shared.thinning import thinned
from lab.attack_runs.shared.update_image import UpdateImage
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import spent
from lab.engine.run_state import RoundResult, RunState
from lab.interfaces.attack_data import UpdateEstimate
from lab.interfaces.privacy_attacks import (
    PrivacyAttack,
    ReconstructionAttack,
    SecureAggregationAttack,
    attack_settings,
)
from lab.interfaces.views import ServerView
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.update_score import UpdateScorer


def check(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run gives nothing to attack."""
    check_masked(history.experiment, order.round)
    history.check_replay(order.round)


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, SecureAggregationAttack)  # so says the table of families
    moment = history.replay(order.round)
    before = history.state(order.round - 1)
    steps = run_unmasking(order.attack, before, moment, target_of(order, history))
    return thinned(steps, apart)


def run_unmasking(
    spy: SecureAggregationAttack, before: RunState, moment: RoundResult, target: int
) -> Iterator[AttackProgress]:
    """Attack what `target` sent in the round of that moment.

    before: the state that the round began with.  Raises SettingError where there is nothing to
    attack.
    """
    server, now = (
        malicious_server(before, moment, target),
        before.experiment.at(moment.record.round),
    )
    _check_target(server.view, target)
    spy.suits(server.view.network)
    truth = true_updates(before, [target])[0]
    noisy = now.privacy.kind == "client" and now.privacy.place != "central"
    scales = UpdateScorer(truth, server.view.rows[0], server.view.shared, noisy)
    window = UpdateImage.on(server.view.network, scales.mean)
    claims: list[UpdateEstimate] = []
    for claim in spy(server, target):
        claims.append(claim)
        shown = pictures(window, truth, claim.update, scales.mean)
        yield AttackProgress(claim.step, claim.steps, pictures=shown)
    if not claims:
        raise SettingError(f"{spy.kind} had nothing to say of client {target}")
    last = claims[-1]
    revealed = _revealed(server.view, last, target, before, moment)
    result = AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=moment.record.round,
        client=target,
        declared=_declared(spy, moment, server.view),
        guarantee=spent(before.experiment, moment.record.round, "server"),
        score=scales.score(claims),
        extras=(revealed.score,) if revealed and revealed.score else (),
    )
    shown = pictures(window, truth, last.update, scales.mean)
    if revealed:
        shown |= revealed.pictures
    yield AttackProgress(last.step, last.steps, pictures=shown, score=result.score, result=result)


def pictures(
    window: UpdateImage, truth: Tensor, claim: Tensor | None, mean: Tensor
) -> dict[str, Tensor]:
    """The same window on each vector, on the scale of the true update.

    (params,) each -> (1, 1, height, width) each
    """
    given = {"sent": truth, "mean": mean} | ({} if claim is None else {"claimed": claim})
    scale = window.scale(truth)
    return {name: window.grey(each, scale).unsqueeze(0) for name, each in given.items()}


def _check_target(view: ServerView, target: int) -> None:
    if not len(view.rows):
        raise SettingError(f"round {view.round} left nothing to attack: {view.note}")
    try:
        view.row_of(target)
    except LookupError as error:
        there = ", ".join(map(str, view.senders[0]))
        raise SettingError(f"{error}: choose from {there}") from None


def _revealed(
    view: ServerView, claim: UpdateEstimate, target: int, before: RunState, moment: RoundResult
) -> AttackProgress | None:
    """What the claimed update shows of the client's data, where the first layer gives it away."""
    if "text" in view.network.model.reads:  # its first layer looks words up
        return None
    reader = PrivacyAttack.table["first-layer"]()
    assert isinstance(reader, ReconstructionAttack)
    slots = view.network.slots
    names = list(slots)[:2]  # weight and bias of the first layer
    place = torch.zeros(view.network.size, dtype=torch.bool)
    for name in names:
        place[slots[name][0]] = True
    if claim.update is None or len(slots[names[0]][1]) != 2:
        return None
    if claim.where is not None and not claim.where[place].all():
        return None
    alone = replace(
        view,
        rows=claim.update.float().unsqueeze(0),
        weights=torch.tensor([claim.weight]),
        senders=((target,),),
    )
    judge = reconstruction_scorer(before.experiment.at(view.round), view.round, target)
    (guess,) = reader(alone, target, auxiliary_info(before.experiment, view.round))
    found = judge.identify(guess, judge.score(guess))
    shown = {
        "guess": guess.inputs[[match.guess for match in found.matches]],
        "private": judge.inputs[[match.truth for match in found.matches]],
    }
    return AttackProgress(1, 1, pictures=shown, score=found)


def _declared(spy: PrivacyAttack, moment: RoundResult, view: ServerView) -> dict[str, str]:
    """What is assumed, and what makes the number what it is."""
    now = moment.state.experiment.at(moment.record.round)
    masks = now.secure_aggregation
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "sees": "masked rows, their sum, and the rounds that it stages itself",
        "clients in the sum": str(len(view.senders[0])),
        "masks": f"{masks.generator}, "
        + ("bound to the model that was sent" if masks.binding else "not bound to any model")
        + (", signed" if masks.signatures else "")
        + ("" if masks.checks else ", and clients check nothing of the round"),
        "model": f"{now.model.kind}, activation {now.model.activation}",
        "privacy": protection(now.privacy),
    }
