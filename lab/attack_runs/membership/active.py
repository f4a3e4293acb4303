"""Provocation: the trial of an active membership attack, beside what watching alone would tell.

Every few candidates get a course of the rounds to themselves, as if nobody else were asked about,
so that one does not drown the others; members and others stand mixed in each.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
import torch
from torch import Tensor

from lab.attack_runs.membership.active_rounds import ActiveRounds, seen
from lab.attack_runs.membership.candidates import select_candidates
from lab.attack_runs.shared.assumptions import accuracy_of, protection
from lab.attack_runs.shared.attack_request import AttackRequest
from lab.attack_runs.shared.run_history import RunHistory
from lab.attack_runs.shared.view_helpers import check_memory
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.differential_privacy.accountant import Adversary, detailed
from lab.engine.participation.cohort_sampling import select_cohort
from lab.engine.run_state import RunState
from lab.interfaces.attack_data import ActiveSignals, Candidates
from lab.interfaces.privacy_attacks import ActiveMembershipAttack, AttackResources, attack_settings
from lab.privacy.guarantee import PrivacyGuarantee, ceiling_of
from lab.scoring.attack_result import AttackProgress, AttackResult, Score
from lab.scoring.membership.active_gain import ActiveGain, rival_of
from lab.scoring.membership.blind_baseline import blind_scores
from lab.scoring.membership.membership_score import MembershipScore, score_membership
from lab.scoring.tampering_signs import TamperingSigns

MOST = 200  # members, and as many others: every few of them cost a course of rounds


@dataclass(frozen=True, eq=False)
class Asked:
    """Who is asked about, and the truth, which only the judge may read."""

    candidates: Candidates
    member: np.ndarray  # (candidates,) bool
    others: str


def check(order: AttackRequest, history: RunHistory) -> None:
    """Any run that has a model will do."""


def start(
    order: AttackRequest, history: RunHistory, apart: float = 0.0
) -> Iterator[AttackProgress]:
    """Attack, as the request says."""
    assert isinstance(order.attack, ActiveMembershipAttack)  # so says the table of families
    first = before_of(order.attack, order.round)
    earlier = history.state(first - 1).model if first else None
    before = history.state(first)
    usual = history.state(order.round)
    return run_active_membership(order.attack, before, usual, order.client, earlier)


def before_of(spy: ActiveMembershipAttack, round: int) -> int:
    """The round after which an attack begins that ends with `round`.  Raises SettingError.

    A client sees the answers to its last push one round later.
    """
    played = spy.rounds + (spy.by == "client")
    if played > round:
        raise SettingError(
            f"{spy.kind}.rounds is {spy.rounds}, which takes {played} rounds, and round {round} "
            f"has {round - 1} before it: choose a later round, or fewer rounds"
        )
    return round - played


def run_active_membership(
    spy: ActiveMembershipAttack,
    before: RunState,
    usual: RunState,
    client: int | None = None,
    earlier: Tensor | None = None,
) -> Iterator[AttackProgress]:
    """Play the rounds after `before` with the attack in them.  One glimpse for each course.

    usual: the run itself after those rounds
    client: of a server's attack, whom it isolates and whose examples are the members; of a
    client's attack, who attacks
    earlier (params,): the model of the round before those, if there was one

    Raises SettingError where the attack cannot be made.
    """
    courses, now = _courses(spy, before, usual, client), before.experiment.at(usual.round)
    known = _asked(before, usual, courses)
    sets = _sets(spy, now.seed, len(known.member))
    evidence, accuracies = [], []
    for number, places in enumerate(sets, 1):
        found, model = courses.play(spy, _those(known.candidates, places))
        evidence.append(found)
        accuracies.append(accuracy_of(now, model))
        yield AttackProgress(number, len(sets) + 1)
    scores = _array(spy(_joined(evidence, torch.cat(sets).argsort())))
    gain = _gain(spy, courses, usual, known, scores, fmean(accuracies))
    extras: tuple[Score, ...] = (gain,)
    if courses.attacker is None:
        noticed = courses.noticed(spy, _those(known.candidates, sets[0]), earlier)
        extras = (gain, TamperingSigns(signs=noticed))
    exposure = _exposure(courses, usual, known, scores)
    result = _result(spy, courses, usual, known, exposure, extras)
    pictures = {
        "most": known.candidates.inputs[list(exposure.most)],
        "least": known.candidates.inputs[list(exposure.least)],
    }
    yield AttackProgress(len(sets) + 1, len(sets) + 1, pictures=pictures, result=result)


def _gain(
    spy: ActiveMembershipAttack,
    courses: ActiveRounds,
    usual: RunState,
    known: Asked,
    scores: np.ndarray,
    accuracy: float,
) -> ActiveGain:
    """Beside the same rounds without a push, in which all candidates can be asked about at once."""
    still, now = spy.still(), usual.experiment.at(usual.round)
    watched = _array(still(courses.play(still, known.candidates)[0]))
    plain = -_array(spy.signal(seen(usual), known.candidates))
    watching = "watching alone" if courses.target is None else "isolating alone"
    return ActiveGain(
        rounds=courses.rounds,
        together=spy.together,
        rivals=(
            rival_of(f"{watching}, without a push", scores, watched, known.member),
            rival_of("the loss under the run's own model", scores, plain, known.member),
        ),
        accuracy=accuracy,
        usual=accuracy_of(now, usual.model),
    )


def _courses(
    spy: ActiveMembershipAttack, before: RunState, usual: RunState, client: int | None
) -> ActiveRounds:
    now, rounds = before.experiment.at(usual.round), usual.round - before.round
    check_memory(spy, now)
    spy.suits(now.architecture)
    if spy.by == "client":
        there = select_cohort(before.experiment, before.round + 1)
        if not there or (client is not None and client not in there):
            raise SettingError(
                f"client {client} is not asked in round {before.round + 1}, in which it would "
                f"begin: choose from {', '.join(map(str, there))}"
            )
        return ActiveRounds(before, rounds, attacker=there[0] if client is None else client)
    if client is not None and now.secure_aggregation.enabled:
        raise SettingError(
            "client is isolated by its own update, and under secure_aggregation.enabled the "
            "server gets sums only: leave the client out"
        )
    return ActiveRounds(before, rounds, target=client)


def _asked(before: RunState, usual: RunState, courses: ActiveRounds) -> Asked:
    """Members and as many others, but none of the attacker's own examples."""
    now = before.experiment.at(usual.round)
    lined, drawn = (
        select_candidates(now, AttackResources(), courses.target),
        random_stream(now.seed, "provoked"),
    )
    mine = lined.member & lined.counted
    if courses.attacker is not None:
        mine &= lined.owner != courses.attacker
    sides = [np.flatnonzero(side) for side in (mine, ~lined.member)]
    chosen = np.concatenate([drawn.permutation(side)[:MOST] for side in sides])
    places = torch.from_numpy(chosen)
    return Asked(_those(lined.candidates, places), mine[chosen], lined.others)


def _sets(spy: ActiveMembershipAttack, seed: int, count: int) -> list[Tensor]:
    order = torch.from_numpy(random_stream(seed, "courses").permutation(count))
    return list(order.split(spy.together))


def _those(candidates: Candidates, places: Tensor) -> Candidates:
    return Candidates(candidates.inputs[places], candidates.labels[places])


def _joined(parts: Sequence[ActiveSignals], order: Tensor) -> ActiveSignals:
    """All courses as one, in the order of the candidates."""
    return ActiveSignals(
        torch.cat([part.start for part in parts])[order],
        torch.cat([part.sent for part in parts], dim=1)[:, order],
        torch.cat([part.answered for part in parts], dim=1)[:, order],
    )


def _array(scores: Tensor) -> np.ndarray:
    found: np.ndarray = scores.double().numpy()
    return found


def _guarantee(courses: ActiveRounds, usual: RunState) -> PrivacyGuarantee | None:
    """None, too, where an isolated client is asked more often than the run would ask it."""
    now = usual.experiment.at(usual.round)
    if courses.target is not None and now.cohort_size < now.data.clients:
        return None
    adversary: Adversary = "server" if courses.attacker is None else "public"
    return detailed(usual.experiment, usual.round, adversary)


def _exposure(
    courses: ActiveRounds, usual: RunState, known: Asked, scores: np.ndarray
) -> MembershipScore:
    blind = blind_scores(known.candidates, known.member)
    ceiling = ceiling_of(_guarantee(courses, usual))
    return score_membership(scores, known.member, blind, ceiling)


def _result(
    spy: ActiveMembershipAttack,
    courses: ActiveRounds,
    usual: RunState,
    known: Asked,
    exposure: MembershipScore,
    extras: tuple[Score, ...],
) -> AttackResult:
    return AttackResult(
        attack=spy.kind,
        settings=attack_settings(spy),
        round=usual.round,
        client=courses.attacker if courses.target is None else courses.target,
        declared=_declared(spy, courses, usual, known),
        guarantee=_guarantee(courses, usual),
        score=exposure,
        extras=extras,
    )


def _declared(
    spy: ActiveMembershipAttack, courses: ActiveRounds, usual: RunState, known: Asked
) -> dict[str, str]:
    now = usual.experiment.at(usual.round)
    whose = "all honest clients" if courses.target is None else f"client {courses.target}"
    acts = "the server, on the model that everybody is sent"
    if courses.target is not None:
        acts = f"the server, on client {courses.target} alone, which is sent its own answers back"
    if courses.attacker is not None:
        acts = f"client {courses.attacker}, in its update, as many times as clients are asked"
        whose += f" but for client {courses.attacker}"
    return {
        "attacker": spy.attacker,
        "knows": spy.knows,
        "acts": f"{acts}, in rounds {courses.before.round + 1} to "
        f"{courses.before.round + spy.rounds}",
        "candidates": f"{spy.together} at a time, each set in a course of these rounds of its own",
        "model": now.model.kind,
        "privacy": protection(now.privacy),
        "members": f"{int(known.member.sum()):,} examples of {whose}",
        "non-members": known.others,
    }
