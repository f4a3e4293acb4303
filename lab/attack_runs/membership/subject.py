"""Recognition: an attack that asks which people took part, and what it achieved."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from lab.attack_runs.membership.shadow_federations import shadow_rounds
from lab.attack_runs.membership.subject_candidates import SubjectCandidates, select_subjects
from lab.attack_runs.shared.assumptions import accuracy_of
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.engine.differential_privacy.accountant import detailed
from lab.engine.run_state import RunState
from lab.interfaces.attack_data import Candidates, MembershipSignals
from lab.interfaces.privacy_attacks import SubjectMembershipAttack, attack_settings
from lab.interfaces.views import OutsiderView
from lab.privacy.guarantee import ceiling_of
from lab.scoring.attack_result import AttackProgress, AttackResult
from lab.scoring.membership.blind_baseline import blind_scores
from lab.scoring.membership.membership_score import score_membership


def check(order: AttackRequest, history: RunHistory) -> None:
    """Any run that has a model will do."""


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, SubjectMembershipAttack)  # so says the table of families
    return run_subject_membership(order.attack, history.state(order.round), order.client)


def run_subject_membership(
    spy: SubjectMembershipAttack, state: RunState, client: int | None = None
) -> Iterator[AttackProgress]:
    """Attack the model that was released after the state's round.

    client: by its people; None: by those of all honest clients.  One glimpse for each round of the
    attacker's own models, and one with the result.
    """
    now, wanted = state.experiment.at(max(1, state.round)), spy.needs().shadows
    counted = select_subjects(now, spy.needs(), spy.seen(), client)
    steps = (state.round if wanted else 0) + 1
    models = state.model.new_zeros(0, len(state.model))
    if wanted:
        for each in shadow_rounds(state.experiment, state.round, counted.others, range(wanted)):
            models = each.models
            yield AttackProgress(each.round, steps)

    def measured(model: Tensor) -> Tensor:
        return spy.signal(OutsiderView(state.round, now.architecture, model), counted.asked)

    target, nobody = measured(state.model), _nobody(counted.asked)
    evidence = MembershipSignals(
        candidates=counted.asked,
        target=target,
        shadows=torch.stack([target, *(measured(model) for model in models)])[1:],
        inside=torch.zeros(len(models), len(target), dtype=torch.bool),
        public=nobody,
        target_public=target[:0],
        shadows_public=target.new_zeros(len(models), 0),
    )
    scores = spy(evidence, counted.person)
    result = _result(spy, state, counted, scores, client)
    yield AttackProgress(steps, steps, result=result)


def _result(
    spy: SubjectMembershipAttack,
    state: RunState,
    counted: SubjectCandidates,
    scores: Tensor,
    client: int | None,
) -> AttackResult:
    now, member = state.experiment.at(max(1, state.round)), counted.member
    guarantee = detailed(state.experiment, state.round, "public") if state.round else None
    # An example's guarantee does not cover all that somebody made.
    covers = guarantee is not None and guarantee.unit == "client"
    classes = len(now.data.source.classes)
    exposure = score_membership(
        scores.double().numpy(),
        member,
        blind_scores(_portraits(counted, classes), member),
        ceiling_of(guarantee) if covers else None,
    )
    each = np.bincount(counted.person.numpy())
    trained = "with which members trained" if spy.seen() else "on which nobody trained"
    whose = "all honest clients" if client is None else f"client {client}"
    return AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=state.round,
        client=client,
        declared={
            "attacker": spy.attacker,
            "knows": spy.knows,
            "model": now.model.kind,
            "accuracy on test examples": f"{accuracy_of(now, state.model):.3f}",
            "members": f"{int(member.sum()):,} people of {whose}",
            "non-members": f"{int((~member).sum()):,} people whom no client holds",
            "asked by": f"{each.min()} to {each.max()} examples of each, {trained}",
            "the attacker's own models": f"trained on {len(counted.others.labels):,} examples of "
            "people who are not asked about",
            "candidates": "people, and not examples",
        },
        guarantee=guarantee,
        score=exposure,
    )


def _portraits(counted: SubjectCandidates, classes: int) -> Candidates:
    """People as somebody sees them who has no model: what their examples are like on average.

    -> (people, ...), without a label.  Of text it is how often they use each word.
    """
    people, inputs = len(counted.owner), counted.asked.inputs.flatten(1)
    whole = bool((inputs == inputs.round()).all()) and float(inputs.max()) < classes
    if whole and inputs.numel():
        typed = torch.zeros(len(inputs), classes)
        inputs = typed.scatter_add(1, inputs.long(), torch.ones_like(inputs))
    total = torch.zeros(people, inputs.shape[1]).index_add(0, counted.person, inputs)
    count = torch.bincount(counted.person, minlength=people).clamp_min(1)
    return Candidates(total / count.unsqueeze(1), torch.zeros(people, dtype=torch.int64))


def _nobody(like: Candidates) -> Candidates:
    return Candidates(like.inputs[:0], like.labels[:0])
