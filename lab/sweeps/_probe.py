"""Probe: attacks on a run while it goes on, each on one of its rounds.

Unlike the attack of a raid they end nothing, so one run gives its accuracy and several leaks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from lab.attack_runs.shared.attack_request import Aim
from lab.common.settings import SettingError
from lab.engine.run import Moment, State, begin
from lab.experiment.experiment import Experiment
from lab.sweeps._leak import Leak
from lab.sweeps.attacked_run import struck

EARLY: dict[str, Any] = {"refused": "the run ended before the round that was to be attacked"}


def probed(
    experiment: Experiment, moments: Iterator[Moment], probes: Sequence[Aim]
) -> Iterator[tuple[Moment, dict[int, dict[str, Any]]]]:
    """Every moment of that experiment, with what the probes of its round came to, by number.

    A finding is plain values: a leak, or why there was nothing to attack.
    """
    states = [begin(experiment)] if probes else []  # the last two, the newest first
    for moment in moments:
        due = [number for number, aim in enumerate(probes) if aim.round == moment.record.round]
        yield moment, {number: _finding(probes[number], states, moment) for number in due}
        states = [moment.state, *states[:1]]


def _finding(aim: Aim, before: Sequence[State], moment: Moment) -> dict[str, Any]:
    try:
        *_, last = struck(aim, before, moment)
    except SettingError as error:
        return {"refused": str(error)}
    assert last.result is not None  # as the last glimpse of a trial has
    return {"leak": asdict(Leak.of(last.result))}
