"""Runs that are attacked: at their end, or on the way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from lab.attack_runs.dispatch import start_attack
from lab.attack_runs.shared.attack_request import AttackRequest, AttackSpec
from lab.attack_runs.shared.run_history import RunInMemory
from lab.common.random_streams import random_stream
from lab.common.settings import SettingError
from lab.engine.run import initial_state, run
from lab.engine.run_state import RoundResult, RunState
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import ReconstructionAttack
from lab.scoring.attack_result import AttackProgress
from lab.sweeps.cell_result import AttackSummary


def attacked_at_end(experiment: Experiment, aim: AttackSpec) -> Iterator[AttackProgress | None]:
    """Nothing for each round before, then the attack's glimpses; the last one has the result.

    Raises SettingError where there is nothing to attack, Stopped where the run ends before.
    """
    aim.check(experiment)
    states = [initial_state(experiment)]  # the last two, the newest first
    for moment in run(experiment):
        if moment.record.round < aim.round:
            states = [moment.state, states[0]]
            yield None
            continue
        yield from attack_round(aim, states, moment)
        return


def attack_round(
    aim: AttackSpec, before: Sequence[RunState], moment: RoundResult
) -> Iterator[AttackProgress]:
    """The attack on what was sent in that round, or on its model.  Raises SettingError.

    before: the states before that round, the newest first; the last two will do
    """
    client = aim.client
    if isinstance(aim.attack, ReconstructionAttack):
        client = target_of(aim, moment)
    history = RunInMemory(
        moment.state.experiment,
        {state.round: state for state in before},
        {moment.record.round: moment},
    )
    return start_attack(AttackRequest(attack=aim.attack, round=aim.round, client=client), history)


def target_of(aim: AttackSpec, moment: RoundResult) -> int:
    """Whom the aim names, or one of those whose update arrived, by the experiment's seed."""
    if aim.client is not None:
        return aim.client
    arrived = moment.record.arrived
    if not arrived:
        raise SettingError(f"nobody's update arrived in round {aim.round}: {moment.record.note}")
    drawn = random_stream(moment.state.experiment.seed, "victim", aim.round)
    return arrived[int(drawn.integers(len(arrived)))]


EARLY: dict[str, Any] = {"refused": "the run ended before the round that was to be attacked"}


def attacked_on_the_way(
    experiment: Experiment, moments: Iterator[RoundResult], probes: Sequence[AttackSpec]
) -> Iterator[tuple[RoundResult, dict[int, dict[str, Any]]]]:
    """Every moment of that experiment, with what the probes of its round came to, by number.

    A finding is plain values: a leak, or why there was nothing to attack.
    """
    states = [initial_state(experiment)] if probes else []  # the last two, the newest first
    for moment in moments:
        due = [number for number, aim in enumerate(probes) if aim.round == moment.record.round]
        yield moment, {number: finding(probes[number], states, moment) for number in due}
        states = [moment.state, *states[:1]]


def finding(aim: AttackSpec, before: Sequence[RunState], moment: RoundResult) -> dict[str, Any]:
    try:
        *_, last = attack_round(aim, before, moment)
    except SettingError as error:
        return {"refused": str(error)}
    assert last.result is not None  # as the last glimpse of a trial has
    return {"leak": asdict(AttackSummary.of(last.result))}
