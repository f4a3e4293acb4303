"""Inference: a membership attack on a released model, and what it achieved."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from lab.attack_runs.membership.candidates import MembershipCandidates, select_candidates
from lab.attack_runs.membership.shadow_models import (
    Cache,
    Nothing,
    ShadowModels,
    train_shadow_models,
)
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.attack_runs.shared.thinning import thinned
from lab.engine.data.public_examples import test_data
from lab.engine.differential_privacy.accountant import detailed
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import MembershipInferenceAttack, attack_settings
from lab.interfaces.views import OutsiderView
from lab.models.metrics import evaluate
from lab.privacy.guarantee import ceiling_of
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.membership.blind_baseline import blind_scores
from lab.scoring.membership.further_scores import PooledScore
from lab.scoring.membership.leakage_by_group import broken_down, oddity
from lab.scoring.membership.membership_score import score_membership
from lab.scoring.membership.pooled_score import pooled


def check(order: AttackRequest, history: RunHistory) -> None:
    """Any run that has a model will do."""


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, MembershipInferenceAttack)  # so says the table of families
    state = history.state(order.round)
    steps = run_membership(order.attack, state, order.client, order.targets, history.shadow_cache)
    return thinned(steps, apart)


def run_membership(
    spy: MembershipInferenceAttack,
    state: RunState,
    client: int | None = None,
    targets: int = 0,
    cache: Cache | None = None,
) -> Iterator[AttackProgress]:
    """Attack the model that was released after the state's round.

    Members are the examples of all honest clients, or of `client`.  One glimpse for each round in
    which shadow models train, one for each target besides the run, and one with the result.

    targets: so many shadows more are attacked as the run is, and judged together, by the examples
    of all of their clients
    cache: of shadow models
    """
    now, needs = state.experiment.at(max(1, state.round)), spy.needs()
    own = needs.shadows
    lined = select_candidates(now, needs._replace(shadows=own + targets), client)
    fleet, done = yield from _fleet(state, lined, own, targets, cache or Nothing())
    steps = done + targets + 1
    shadows = ShadowModels(fleet.models[:own], fleet.holders[:own])
    evidence = _evidence(spy, state, now, lined, shadows)
    scores, others = spy(evidence), []
    for step, model in enumerate(fleet.models[own:], start=done + 1):
        others.append(spy(_turned(spy, state, now, evidence, model)))
        yield AttackProgress(step, steps)
    judged = _judged(spy, state, now, lined, scores, client, steps)
    yield _besides(judged, state, lined, own, others, fleet.inside)


def _fleet(
    state: RunState, lined: MembershipCandidates, own: int, targets: int, cache: Cache
) -> Generator[AttackProgress, None, tuple[ShadowModels, int]]:
    """The attack's own shadows, behind them the targets; and how many steps they took."""
    nobody = torch.zeros(0, len(lined.owner), dtype=torch.int64)
    fleet, done = ShadowModels(state.model.new_zeros(0, len(state.model)), nobody), 0
    if not own + targets:
        return fleet, done
    # No pair is parted: who is inside of a target must not follow from a shadow.
    first = own + own % 2
    which = [*range(own), *range(first, first + targets)]
    for each in train_shadow_models(state.experiment, state.round, lined.pool, which, cache):
        if each.fleet is None:
            yield AttackProgress(each.step, each.steps + targets + 1)
        else:
            fleet, done = each.fleet, each.steps
    return fleet, done


def _measured(
    spy: MembershipInferenceAttack,
    state: RunState,
    now: Experiment,
    model: Tensor,
    asked: Candidates,
) -> Tensor:
    return spy.signal(OutsiderView(state.round, now.architecture, model), asked)


def _evidence(
    spy: MembershipInferenceAttack,
    state: RunState,
    now: Experiment,
    lined: MembershipCandidates,
    shadows: ShadowModels,
) -> MembershipSignals:
    """What the attack measures on the run's model and on its shadows."""
    asked, public = lined.candidates, lined.public
    measured = partial(_measured, spy, state, now)
    target, target_public = (measured(state.model, each) for each in (asked, public))
    return MembershipSignals(
        asked,
        target,
        torch.stack([measured(model, asked) for model in shadows.models])
        if len(shadows.models)
        else target.new_zeros(0, *target.shape),
        shadows.inside,
        public,
        target_public,
        torch.stack([measured(model, public) for model in shadows.models])
        if len(shadows.models)
        else target_public.new_zeros(0, *target_public.shape),
    )


def _turned(
    spy: MembershipInferenceAttack,
    state: RunState,
    now: Experiment,
    evidence: MembershipSignals,
    model: Tensor,
) -> MembershipSignals:
    """The same against another model."""
    measured = partial(_measured, spy, state, now, model)
    return replace(
        evidence,
        target=measured(evidence.candidates),
        target_public=measured(evidence.public),
    )


def _besides(
    judged: AttackProgress,
    state: RunState,
    lined: MembershipCandidates,
    own: int,
    others: list[Tensor],
    inside: Tensor,
) -> AttackProgress:
    """With what is to be said of shadows and further targets, where there are any."""
    result = judged.result
    if result is None or not len(inside):
        return judged
    added: dict[str, Any] = {"declared": result.declared | _of_shadows(state, lined, own, inside)}
    if others:
        scores = torch.stack(others).double().numpy()
        pairs = [number // 2 for number in range(len(others))]  # as the shadows are numbered
        ceiling = ceiling_of(result.guarantee)
        together = pooled(scores, inside[own:].numpy(), pairs, ceiling)
        added["extras"] = (*result.extras, PooledScore(targets=len(others), score=together))
    return replace(judged, result=result.model_copy(update=added))


def _of_shadows(
    state: RunState, lined: MembershipCandidates, own: int, inside: Tensor
) -> dict[str, str]:
    """How many, what they assume, on how much they train."""
    clients, held = state.experiment.data.clients, int(lined.member.sum())
    sizes = inside.sum(dim=1).tolist()
    size = f"{min(sizes):,}" if min(sizes) == max(sizes) else f"{min(sizes):,} to {max(sizes):,}"
    few = ""
    if len(lined.owner) < 2 * held:
        few = f", fewer than the {held:,} of the run: there are too few non-members"
    told = {}
    if own:
        told["shadow models"] = (
            f"{own} federations of {clients} clients, by federated averaging with the run's recipe "
            "and privacy, from initial models of their own"
        )
    if len(inside) > own:
        told["models like this one"] = f"{len(inside) - own} federations by the same recipe"
    told["each trains on"] = f"{size} examples, a random half of all candidates{few}"
    return told


def _judged(
    spy: MembershipInferenceAttack,
    state: RunState,
    now: Experiment,
    lined: MembershipCandidates,
    scores: Tensor,
    client: int | None,
    steps: int,
) -> AttackProgress:
    federation, counted = test_data(now), lined.counted
    guarantee = detailed(state.experiment, state.round, "public") if state.round else None
    asked = Candidates(
        lined.candidates.inputs[torch.from_numpy(counted)],
        lined.candidates.labels[torch.from_numpy(counted)],
    )
    member = lined.member[counted]
    exposure = score_membership(
        scores.double().numpy()[counted],
        member,
        blind_scores(asked, member),
        ceiling_of(guarantee),
        asked.labels.numpy(),
    )
    groups = broken_down(
        scores.double().numpy()[counted],
        member,
        asked.labels.numpy(),
        lined.owner[counted],
        None if now.data.source.content == "text" else oddity(asked),
    )
    inside = torch.from_numpy(member)
    mine = evaluate(now.architecture, state.model, asked.inputs[inside], asked.labels[inside])
    test = evaluate(now.architecture, state.model, federation.test_inputs, federation.test_labels)
    whose = "all honest clients" if client is None else f"client {client}"
    result = AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=state.round,
        client=client,
        declared={
            "attacker": spy.attacker,
            "knows": spy.knows,
            "model": now.model.kind,
            "accuracy on members": f"{mine[0]:.3f}",
            "accuracy on test examples": f"{test[0]:.3f}",
            "members": f"{int(member.sum()):,} examples of {whose}",
            "non-members": lined.others,
        },
        guarantee=guarantee,
        score=exposure,
        extras=(groups,),
    )
    pictures = {
        "most": asked.inputs[list(exposure.most)],
        "least": asked.inputs[list(exposure.least)],
    }
    return AttackProgress(steps, steps, pictures=pictures, result=result)
