"""The store: runs, their rounds, attacks on them, for those who look.

Everything that a page shows is read from here, so a refresh, a second browser or a restart of the
server loses nothing.  Commands are in `run_commands`, what workers
write in `worker_store`, and a run as attacks see it in `replay`.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from sqlalchemy import (
    ColumnElement,
    and_,
    func,
    select,
)

from lab.common.settings import SettingError
from lab.engine.evaluation.record import RoundRecord
from lab.experiment.experiment import Experiment
from lab.storage.array_disposal import uploaded
from lab.storage.arrays import ArrayStore
from lab.storage.database import (
    arrays_folder,
    attack_progress,
    commands,
    connect,
    default_url,
    jobs,
    notes,
    owners,
    reading,
    records,
    watched_runs,
)
from lab.storage.job import Job, StoredProgress, StoredRound
from lab.storage.job_queue import queue_order
from lab.storage.shadow_cache import ShadowModelCache
from lab.storage.visitors import NOBODY, owned_by, present, visible_to


class Store:
    """Runs by their id.  Several processes may share a store; each method is one transaction."""

    def __init__(self, url: str | None = None) -> None:
        """Raises StoreError."""
        self.url = url or default_url()
        self.engine = connect(self.url)
        self.arrays = ArrayStore(arrays_folder(self.url))
        self.stock = ShadowModelCache(self.engine, self.arrays)

    def job(self, id: str) -> Job:
        """Raises SettingError when there is none of that id."""
        with reading(self.engine) as connection:
            row = connection.execute(select(jobs).where(jobs.c.id == id)).first()
        if row is None:
            raise SettingError(f"there is no run {id!r} in this store: leaklab runs lists them")
        return Job.of(row)

    def run(self, id: str) -> Job:
        """A job that is a run.  Raises SettingError."""
        job = self.job(id)
        if job.kind != "run":
            what = "a cell of a sweep" if job.kind == "cell" else f"an attack on run {job.run}"
            raise SettingError(f"{id!r} is {what}, not a run")
        return job

    def runs(self, most: int = 200, visitor: str | None = None) -> list[Job]:
        """The newest runs first: those that a visitor may see listed, or everybody's."""
        which = jobs.c.kind == "run"
        return self._jobs(which if visitor is None else and_(which, visible_to(visitor)), most)

    def attacks_on(self, run: str, names: Sequence[str] = NOBODY) -> list[Job]:
        """The newest attacks first.  Attacks on uploaded pictures only if one of the names may
        command them: nobody else sees somebody's own picture.

        names: of `lab.storage.visitors.identities`; by default the command line's
        """
        hidden = and_(uploaded.is_not(None), ~owned_by(names))
        return self._jobs(and_(jobs.c.run == run, ~hidden), 200)

    def place(self, id: str) -> int:
        """How many jobs are likely to be taken up before this run or attack."""
        with reading(self.engine) as connection:
            waiting = queue_order(connection)
        return waiting.index(id) if id in waiting else 0

    def owner(self, id: str) -> str:
        """The visitor who started it; empty for one that the command line did."""
        with reading(self.engine) as connection:
            query = select(owners.c.visitor).where(owners.c.job == id)
            return str(connection.execute(query).scalar() or "")

    def hidden_attacks(self, run: str) -> int:
        """How many attacks on visitors' own pictures `attacks_on` leaves out."""
        hidden = and_(jobs.c.run == run, uploaded.is_not(None), ~owned_by(NOBODY))
        with reading(self.engine) as connection:
            return int(connection.execute(select(func.count()).where(hidden)).scalar_one())

    def owned(self, ids: Sequence[str], names: Sequence[str]) -> set[str]:
        """Those of the jobs that a visitor of those names may command."""
        query = select(jobs.c.id).where(jobs.c.id.in_(ids), owned_by(names))
        with reading(self.engine) as connection:
            return set(connection.scalars(query))

    def rounds(self, run: str, after: int = 0) -> list[StoredRound]:
        """Finished rounds later than `after`, in order."""
        query = select(records.c.body, records.c.seconds).where(
            records.c.run == run, records.c.round > after
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(records.c.round)).all()
        return [StoredRound(RoundRecord.model_validate(row.body), row.seconds) for row in rows]

    def sights(self, attack: str, after: int = 0) -> list[StoredProgress]:
        """Glimpses of an attack later than number `after`, in order."""
        query = select(attack_progress).where(
            attack_progress.c.attack == attack, attack_progress.c.number > after
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(attack_progress.c.number)).all()
        return [StoredProgress(row.number, row.body, row.arrays) for row in rows]

    def intended(self, run: str) -> Experiment:
        """The settings of the next round, with the changes that no worker has taken up yet."""
        job = self.run(run)
        query = select(commands.c.body).where(
            commands.c.job == run, commands.c.kind == "change", commands.c.outcome == ""
        )
        with reading(self.engine) as connection:
            waiting = connection.execute(query.order_by(commands.c.number)).scalars().all()
        intended = job.experiment.at(job.round + 1)
        for settings in waiting:
            with suppress(SettingError):  # the worker will refuse it, too
                intended = intended.changed(settings)
        return intended

    def watched(self, run: str) -> bool:
        with reading(self.engine) as connection:
            query = select(watched_runs.c.run).where(watched_runs.c.run == run)
            return connection.execute(query).first() is not None

    def notes(self) -> dict[str, str]:
        """What was noted, by run."""
        with reading(self.engine) as connection:
            return {row.run: row.words for row in connection.execute(select(notes)).all()}

    def visitors(self) -> int:
        """How many have a page open now."""
        with reading(self.engine) as connection:
            return present(connection)

    def _jobs(self, which: ColumnElement[bool], most: int) -> list[Job]:
        query = select(jobs).where(which).order_by(jobs.c.created.desc(), jobs.c.id).limit(most)
        with reading(self.engine) as connection:
            return [Job.of(row) for row in connection.execute(query).all()]
