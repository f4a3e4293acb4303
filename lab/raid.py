"""Raid: an experiment that is run up to a round, and that round attacked."""

from __future__ import annotations

from collections.abc import Iterator

from lab.aim import Aim
from lab.engine import Moment, begin, run
from lab.experiment import Experiment
from lab.parts import Reconstruction, Subversion
from lab.rng import stream
from lab.settings import SettingError
from lab.subversion import subvert
from lab.trial import Glimpse, reconstruct


def raided(experiment: Experiment, aim: Aim) -> Iterator[Glimpse | None]:
    """Nothing for each round before, then the attack's glimpses; the last one has the result.

    Raises SettingError where there is nothing to attack, Stopped where the run ends before.
    """
    aim.check(experiment)
    spy, states = aim.spy, [begin(experiment)]  # the last two, the newest first
    assert isinstance(spy, Reconstruction)
    for moment in run(experiment):
        if moment.record.round < aim.round:
            states = [moment.state, states[0]]
            yield None
            continue
        target = target_of(aim, moment)
        if isinstance(spy, Subversion):
            earlier = states[1].model if states[1:] else None
            yield from subvert(spy, states[0], moment, target, earlier)
        else:
            yield from reconstruct(spy, moment, target)
        return


def target_of(aim: Aim, moment: Moment) -> int:
    """Whom the aim names, or one of those whose update arrived, by the experiment's seed."""
    if aim.client is not None:
        return aim.client
    arrived = moment.record.arrived
    if not arrived:
        raise SettingError(f"nobody's update arrived in round {aim.round}: {moment.record.note}")
    drawn = stream(moment.state.experiment.seed, "victim", aim.round)
    return arrived[int(drawn.integers(len(arrived)))]
