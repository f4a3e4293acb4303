"""Surveillance: a server that watches a whole run and says which client holds which example.

The run is repeated from its first round, so that every message is there once more.  Shadow
federations, where the attack has them, begin with the model that the server itself had sent.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lab.attack_runs.membership.candidate_pairs import against_clients, against_outsiders, judged
from lab.attack_runs.membership.candidates import MembershipCandidates, select_candidates
from lab.attack_runs.membership.client_signals import Scored, check_memory, check_watched, scored
from lab.attack_runs.shared.assumptions import protection
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.data.public_examples import test_data
from lab.engine.differential_privacy.accountant import detailed
from lab.engine.run_state import RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.attack_data import Candidates
from lab.interfaces.privacy_attacks import ServerMembershipAttack, attack_settings
from lab.models.metrics import evaluate
from lab.privacy.guarantee import ceiling_of
from lab.scoring.attack_result import AttackProgress, AttackResult, Score
from lab.scoring.membership.further_scores import OtherClientsScore
from lab.scoring.membership.source_score import SourceInferenceScore, attribute

FEWEST = 1000  # non-members that are asked about anyway: enough for a rate at 1 %


def check(order: AttackRequest, history: RunHistory) -> None:
    """Raise SettingError where the run gives nothing to attack."""
    assert isinstance(order.attack, ServerMembershipAttack)  # so says the table of families
    check_watched(order.attack, history.experiment, order.round)


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, ServerMembershipAttack)  # so says the table of families
    return run_server_membership(order.attack, history.state(order.round), order.client)


def run_server_membership(
    spy: ServerMembershipAttack, state: RunState, client: int | None = None
) -> Iterator[AttackProgress]:
    """Watch all rounds up to the state's.

    Members are the examples of all honest clients, or of `client`.  One glimpse for each round that
    is repeated, one for each of the shadow federations' rounds, and one with the result.

    Raises SettingError where the rounds cannot be repeated, or leave the attack nothing to work on.
    """
    check_watched(spy, state.experiment, state.round)
    lined = _fewer(select_candidates(state.experiment.at(state.round), spy.needs(), client))
    check_memory(spy, state.experiment, len(lined.owner), state.round)
    steps = state.round * (2 if spy.needs().shadows else 1) + 1
    watching, step = scored(spy, state, lined), 0
    while True:
        try:
            next(watching)
        except StopIteration as end:
            found: Scored = end.value
            break
        step += 1
        yield AttackProgress(step, steps)
    if client is not None and client not in found.heard:
        there = ", ".join(map(str, found.heard))
        raise SettingError(f"client {client} sent nothing in {state.round} rounds: give {there}")
    yield _judged(spy, state, lined, found, client, steps)


def _fewer(lined: MembershipCandidates) -> MembershipCandidates:
    """With no more others than members: each is measured on every update of every round."""
    kept = int(lined.member.sum()) + max(FEWEST, int(lined.member.sum()))
    if kept >= len(lined.owner):
        return lined
    pool = Candidates(lined.pool.inputs[:kept], lined.pool.labels[:kept])
    others = f"{kept - int(lined.member.sum()):,} of {lined.others}"
    return replace(
        lined, pool=pool, owner=lined.owner[:kept], counted=lined.counted[:kept], others=others
    )


def _judged(
    spy: ServerMembershipAttack,
    state: RunState,
    lined: MembershipCandidates,
    found: Scored,
    client: int | None,
    steps: int,
) -> AttackProgress:
    experiment, asked = state.experiment, lined.candidates
    scores, heard = found.scores, found.heard
    guarantee = detailed(experiment, state.round, "server")
    drawn = random_stream(experiment.seed, "pairs")
    pairs = against_outsiders(lined, heard, client, drawn)
    several = len(heard) > 1
    rivals = against_clients(lined, heard, client, drawn) if several else None
    exposure = judged(scores, pairs, asked, ceiling_of(guarantee))
    extras: tuple[Score, ...] = ()
    if rivals:
        others = judged(scores, rivals, asked, inputs=client is not None)
        extras += (OtherClientsScore(score=others),)
    if several:
        extras += (_attributed(scores, lined, heard, experiment),)
    result = AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=state.round,
        client=client,
        declared=_declared(spy, state, lined, heard, client),
        guarantee=guarantee,
        score=exposure,
        extras=extras,
    )
    pictures = {
        name: asked.inputs[pairs.candidate[list(those)]]
        for name, those in (("most", exposure.most), ("least", exposure.least))
    }
    return AttackProgress(steps, steps, pictures=pictures, result=result)


def _attributed(
    scores: Tensor, lined: MembershipCandidates, heard: np.ndarray, experiment: Experiment
) -> SourceInferenceScore:
    members = np.flatnonzero(lined.counted & np.isin(lined.owner, heard))
    federation = test_data(experiment.at(1))
    counts = federation.label_counts(len(experiment.data.source.classes)).numpy()
    return attribute(
        scores.double().numpy()[heard][:, members],
        np.searchsorted(heard, lined.owner[members]),
        lined.candidates.labels.numpy()[members],
        counts[heard],
    )


def _declared(
    spy: ServerMembershipAttack,
    state: RunState,
    lined: MembershipCandidates,
    heard: np.ndarray,
    client: int | None,
) -> dict[str, str]:
    now = state.experiment.at(state.round)
    federation, asked = test_data(now), lined.candidates
    mine = torch.from_numpy(lined.counted & lined.member)
    own = evaluate(now.architecture, state.model, asked.inputs[mine], asked.labels[mine])
    test = evaluate(now.architecture, state.model, federation.test_inputs, federation.test_labels)
    masked = now.secure_aggregation.enabled
    whose = "all honest clients" if client is None else f"client {client}"
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "sees": "the sum over the cohort only" if masked else "single updates",
        "rounds watched": f"1 to {state.round}",
        "clients heard": f"{len(heard)} of {now.data.clients}",
        "model": now.model.kind,
        "accuracy on members": f"{own[0]:.3f}",
        "accuracy on test examples": f"{test[0]:.3f}",
        "members": f"{int(mine.sum()):,} examples of {whose}, each with its own client",
        "non-members": f"{lined.others}, each with "
        + ("a client drawn at random" if client is None else f"client {client}"),
        "other clients' members": "examples that one client holds, asked of another",
        "the same label": "compared within one client",
        "privacy": protection(now.privacy),
    }
