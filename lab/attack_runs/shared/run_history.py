"""What an attack is carried out on: a run, by its rounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from lab.attack_runs.membership.shadow_models import Cache, Nothing
from lab.common.settings import SettingError
from lab.engine.run_state import RoundResult, RunState
from lab.experiment.experiment import Experiment


class RunHistory(Protocol):
    """The finished rounds of a run.  The store implements it, and so does a run in memory."""

    @property
    def experiment(self) -> Experiment: ...

    @property
    def last_round(self) -> int:
        """The last finished round; 0 before the first."""

    @property
    def shadow_cache(self) -> Cache:
        """Keeps shadow models for further attacks on the run."""

    def state(self, round: int) -> RunState:
        """Return the state after that round; 0 for the state before the first."""

    def sent_model(self, round: int) -> Tensor:
        """Return the model that clients were sent in that round.  -> (params,)"""

    def arrived(self, round: int) -> list[int]:
        """Return the clients whose update arrived in that round."""

    def check_replay(self, round: int) -> None:
        """Raise SettingError where the round's messages cannot be made once more."""

    def replay(self, round: int) -> RoundResult:
        """Return the round with all its messages.  Raises SettingError."""

    def picture(self, digest: str) -> Tensor:
        """Return an uploaded picture, in the shape of the run's.  -> (1, *shape) uint8"""


@dataclass(frozen=True)
class RunInMemory:
    """A run of this process, as far as it has come.  It keeps only what it was given."""

    experiment: Experiment
    states: Mapping[int, RunState]  # by round
    moments: Mapping[int, RoundResult]  # by round
    shadow_cache: Cache = field(default_factory=Nothing)

    @property
    def last_round(self) -> int:
        return max(self.moments, default=0)

    def state(self, round: int) -> RunState:
        return self.moments[round].state if round in self.moments else self.states[round]

    def sent_model(self, round: int) -> Tensor:
        return self.state(round - 1).model

    def arrived(self, round: int) -> list[int]:
        return self.moments[round].record.arrived

    def check_replay(self, round: int) -> None:
        """Every round is at hand with its messages: nothing has to be made once more."""

    def replay(self, round: int) -> RoundResult:
        return self.moments[round]

    def picture(self, digest: str) -> Tensor:
        raise SettingError("picture: a run in memory has no uploaded pictures, give a client")
