"""A stored run as the history that attacks work on: its rounds follow from its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from math import isclose

import torch
from sqlalchemy import select
from torch import Tensor

from lab.attack_runs.membership.shadow_models import Cache
from lab.common.settings import SettingError
from lab.engine.carried_state import CarriedState
from lab.engine.round import run_round
from lab.engine.run import initial_state, run
from lab.engine.run_state import RoundResult, RunState
from lab.experiment.experiment import Experiment
from lab.storage.array_disposal import PICTURE
from lab.storage.database import reading, records
from lab.storage.job import Job
from lab.storage.store import Store


@dataclass(frozen=True)
class StoredRun:
    """The finished rounds of a run in the store.  A state that was thinned out is trained anew."""

    store: Store
    id: str

    @property
    def job(self) -> Job:
        """The run as the store has it now.  Raises SettingError."""
        return self.store.run(self.id)

    @property
    def experiment(self) -> Experiment:
        return self.job.experiment

    @property
    def last_round(self) -> int:
        return self.job.round

    @property
    def shadow_cache(self) -> Cache:
        return self.store.stock

    def state(self, round: int | None = None) -> RunState:
        """The state after `round`, by default the last finished one.  Raises SettingError.

        It trains from the latest checkpoint before, where the round has none.
        """
        job = self.job
        wanted = job.round if round is None else round
        if not 0 <= wanted <= job.round:
            raise SettingError(f"round is {wanted}: the run has finished {job.round} rounds")
        checkpoints = (self._checkpoint(job, past) for past in range(wanted, 0, -1))
        state = next((found for found in checkpoints if found), None) or initial_state(
            job.experiment
        )
        if state.round == wanted:
            return state
        later = run(job.experiment, state)
        moment = next(islice(later, wanted - state.round - 1, None))
        return moment.state

    def sent_model(self, round: int) -> Tensor:
        """The model that clients were sent in a finished round.  -> (params,)"""
        if round == 1:
            return initial_state(self.experiment).model
        query = select(records.c.arrays).where(
            records.c.run == self.id, records.c.round == round - 1
        )
        with reading(self.store.engine) as connection:
            digest = connection.execute(query).scalar_one()
        return self.store.arrays.get(digest)["model"]

    def arrived(self, round: int) -> list[int]:
        return self.store.rounds(self.id, after=round - 1)[0].record.arrived

    def check_replay(self, round: int) -> None:
        if not self.experiment.at(round).privacy.repeatable:
            raise SettingError(
                f"round {round} of run {self.id} cannot be replayed: privacy.secure_noise drew "
                "noise that nothing repeats, and only its models are stored; choose a round "
                "without it, or an attack on the models"
            )

    def replay(self, round: int) -> RoundResult:
        """A finished round once more, with all its messages.

        Raises SettingError when this Leaklab gives other numbers than the one that ran it, or when
        nothing could give the same ones.
        """
        self.check_replay(round)
        moment = run_round(self.state(round - 1))
        stored = self.store.rounds(self.id, after=round - 1)[0].record
        if not isclose(moment.record.accuracy, stored.accuracy, abs_tol=0.02):
            raise SettingError(
                f"round {round} of run {self.id} cannot be replayed: its accuracy was "
                f"{stored.accuracy:.3f} and is now {moment.record.accuracy:.3f}; was the run made "
                "by another version of Leaklab?"
            )
        return moment

    def picture(self, digest: str) -> Tensor:
        found = self.store.arrays.get(digest).get(PICTURE)
        shape = self.experiment.data.source.shape
        if found is None or found.dtype != torch.uint8 or found.shape != (1, *shape):
            raise SettingError(f"picture {digest} has not the shape of the run's: {shape}")
        return found

    def _checkpoint(self, job: Job, round: int) -> RunState | None:
        """The state as it was stored; None where the algorithm's memory was not kept."""
        query = select(records.c.arrays, records.c.memory).where(
            records.c.run == job.id, records.c.round == round
        )
        with reading(self.store.engine) as connection:
            row = connection.execute(query).one()
        model = self.store.arrays.get(row.arrays)["model"]
        if not job.experiment.at(round).remembers:
            return RunState(round, model, job.experiment)
        # A run with the same memory may have removed it while this one stored it.
        if row.memory is None or row.memory not in self.store.arrays:
            return None
        carried = CarriedState.of_tensors(self.store.arrays.get(row.memory))
        return RunState(round, model, job.experiment, carried)
