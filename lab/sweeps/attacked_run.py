"""Raid: an experiment that is run up to a round, and that round attacked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lab.attack_runs.membership.outsider import infer
from lab.attack_runs.reconstruction.model_manipulation import subvert
from lab.attack_runs.reconstruction.reconstruction import Glimpse, reconstruct
from lab.attack_runs.shared.attack_request import Aim
from lab.common.random_streams import stream
from lab.common.settings import SettingError
from lab.engine.run import Moment, State, begin, run
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import Inference, Reconstruction, Subversion


def raided(experiment: Experiment, aim: Aim) -> Iterator[Glimpse | None]:
    """Nothing for each round before, then the attack's glimpses; the last one has the result.

    Raises SettingError where there is nothing to attack, Stopped where the run ends before.
    """
    aim.check(experiment)
    states = [begin(experiment)]  # the last two, the newest first
    for moment in run(experiment):
        if moment.record.round < aim.round:
            states = [moment.state, states[0]]
            yield None
            continue
        yield from struck(aim, states, moment)
        return


def struck(aim: Aim, before: Sequence[State], moment: Moment) -> Iterator[Glimpse]:
    """The attack on what was sent in that round, or on its model.  Raises SettingError.

    before: the states before that round, the newest first; the last two will do
    """
    spy = aim.spy
    if isinstance(spy, Inference):
        yield from infer(spy, moment.state, aim.client)
        return
    assert isinstance(spy, Reconstruction)
    target = target_of(aim, moment)
    if isinstance(spy, Subversion):
        earlier = before[1].model if before[1:] else None
        yield from subvert(spy, before[0], moment, target, earlier)
    else:
        yield from reconstruct(spy, moment, target)


def target_of(aim: Aim, moment: Moment) -> int:
    """Whom the aim names, or one of those whose update arrived, by the experiment's seed."""
    if aim.client is not None:
        return aim.client
    arrived = moment.record.arrived
    if not arrived:
        raise SettingError(f"nobody's update arrived in round {aim.round}: {moment.record.note}")
    drawn = stream(moment.state.experiment.seed, "victim", aim.round)
    return arrived[int(drawn.integers(len(arrived)))]
