"""The state of a run after a round, and what one round gives."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import Tensor

from lab.engine.carried_state import CarriedState
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import Experiment
from lab.interfaces.messages import Transcript


@dataclass(frozen=True, eq=False)
class RunState:
    """All that the next round needs."""

    round: int
    model: Tensor  # (params,)
    experiment: Experiment  # the whole past, with every change
    carried: CarriedState = field(default_factory=CarriedState)


@dataclass(frozen=True, eq=False)
class RoundResult:
    """One finished round: numbers for the experimenter, messages for the attacks, a checkpoint."""

    record: RoundRecord
    transcript: Transcript
    state: RunState


class RunStopped(Exception):
    """The run ended early, as its settings ask; the message says why."""
