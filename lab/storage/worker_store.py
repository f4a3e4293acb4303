"""The ledger: the store as a worker sees it.  Claims, leases, and the results of work.

A worker holds a job by a lease that it renews; when the lease runs out the worker counts as dead
and the job goes to another, from its last checkpoint.  A worker that lost its lease cannot write.
What it has set aside in mid-course waits in the queue like any other job, but for this worker only.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from math import inf
from threading import Event, Thread
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Update,
    and_,
    delete,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import OperationalError
from torch import Tensor

from lab.attack_runs.shared.attack_request import AttackRequest
from lab.engine.run_state import RoundResult
from lab.experiment.experiment import Experiment
from lab.scoring.attack_result import AttackProgress
from lab.storage.array_disposal import remove_unused
from lab.storage.database import attack_progress, commands, jobs, owners, reading, records, writing
from lab.storage.job import Job, Status
from lab.storage.job_queue import fair_order, mark_served
from lab.storage.run_commands import RunCommands
from lab.storage.store import Store
from lab.storage.visitors import ACTIVE, limits_of

KEPT = 10  # every so many rounds, what the algorithm remembers stays in the store
LEASE = 10.0  # seconds
DEATHS = 3  # workers that may die over one round, before the job is given up


class LeaseLostError(Exception):
    """Another worker holds the job by now; what this one did was not written."""


@dataclass(frozen=True)
class WorkerStore:
    """One worker's access to the store."""

    store: Store
    worker: str = field(default_factory=lambda: secrets.token_hex(8))

    # --- holding a job --------------------------------------------------------------------------

    def start(self, experiment: Experiment) -> Job:
        """A new run that this worker holds from the beginning."""
        return self.store.job(RunCommands(self.store).create(experiment, held=self._hold()))

    def start_attack(self, run: str, order: AttackRequest, picture: Tensor | None = None) -> Job:
        """A new attack that this worker holds.  Raises SettingError."""
        return self.store.job(
            RunCommands(self.store).attack(run, order, self._hold(), picture=picture)
        )

    def _hold(self) -> dict[str, Any]:
        return {"status": "running", "worker": self.worker, "lease": time.time() + LEASE}

    def claim(self, *ids: str, cells: bool = True, attacks: bool = True) -> Job | None:
        """The job whose turn it is, of those named if any are; orphans of dead workers count.

        cells: whether cells of sweeps may be claimed, which come after everything else
        attacks: whether attacks may that this worker has not begun
        """
        orphaned = and_(jobs.c.status == "running", jobs.c.lease < time.time())
        waits = and_(or_(jobs.c.status == "queued", orphaned), self._open(attacks))
        which = and_(waits, jobs.c.id.in_(ids)) if ids else waits
        which = which if cells else and_(which, jobs.c.kind != "cell")
        query = fair_order(which).limit(1).with_for_update(skip_locked=True, of=jobs)
        with writing(self.store.engine) as connection:
            row = connection.execute(query).first()
            if row is None:
                return None
            deaths, mine = row.deaths + (row.status == "running"), jobs.c.id == row.id
            if deaths >= DEATHS:
                message = f"{deaths} workers died over round {row.round + 1}: is memory short?"
                lost: dict[str, Any] = {"status": "failed", "message": message, "worker": None}
                connection.execute(update(jobs).where(mine).values(lost))
                return None
            if row.worker is None:  # whoever was asked to pause has gone since
                stale = and_(commands.c.job == row.id, commands.c.kind != "change")
                connection.execute(update(commands).where(stale).values(outcome="void"))
            connection.execute(update(jobs).where(mine).values(self._hold() | {"deaths": deaths}))
            mark_served(connection, row.id)
        return self.store.job(row.id)

    @contextmanager
    def held(self, job: Job) -> Iterator[None]:
        """Keeps the lease alive in the background."""
        over = Event()

        def beat() -> None:
            while not over.wait(LEASE / 5):
                with suppress(OperationalError), writing(self.store.engine) as connection:
                    connection.execute(self._mine(job).values(lease=time.time() + LEASE))

        heart = Thread(target=beat, daemon=True)
        heart.start()
        try:
            yield
        finally:
            over.set()
            heart.join()

    def set_aside(self, job: Job) -> None:
        """Back into the queue, where it waits for this worker.  Raises EvictedError."""
        self._update(job, status="queued")

    def called(self, ids: Collection[str]) -> list[str]:
        """Those of what was set aside that were told something, or are not this worker's now."""
        told = select(commands.c.job).where(commands.c.job.in_(ids), commands.c.outcome == "")
        mine = and_(jobs.c.worker == self.worker, jobs.c.status == "queued")
        query = select(jobs.c.id).where(jobs.c.id.in_(ids), mine, jobs.c.id.not_in(told))
        with reading(self.store.engine) as connection:
            still = set(connection.scalars(query))
        return [id for id in ids if id not in still]

    def settle(self, job: Job, status: Status, message: str = "") -> None:
        """Let go of the job.  Raises EvictedError."""
        self._update(job, status=status, message=message, worker=None, lease=None)

    def abandon(self, worker: str) -> None:
        """Free the jobs of a worker that is known to be dead, without waiting for its lease."""
        with writing(self.store.engine) as connection:
            which = and_(jobs.c.worker == worker, jobs.c.status.in_(ACTIVE))
            connection.execute(update(jobs).where(which).values(lease=0.0))

    def load(self, mine: set[str]) -> tuple[int, int]:
        """How many jobs wait or are held by one of `mine`, and how many by other workers."""
        now = time.time()
        waiting = select(func.count()).where(jobs.c.status == "queued")
        running = select(jobs.c.worker, jobs.c.lease).where(jobs.c.status == "running")
        with reading(self.store.engine) as connection:
            rows = connection.execute(running).all()
            queued = int(connection.execute(waiting).scalar_one())
        others = [row for row in rows if row.worker not in mine and row.lease >= now]
        return queued + len(rows) - len(others), len(others)

    def others_wait(self, job: Job, attacks: bool = True) -> bool:
        """Whether a visitor other than the job's waits for a worker, and this one would do.

        attacks: as for `claim`
        """
        whose = select(owners.c.visitor).where(owners.c.job == job.id).scalar_subquery()
        query = select(jobs.c.id).join(owners, owners.c.job == jobs.c.id).limit(1)
        waits = and_(jobs.c.status == "queued", jobs.c.kind != "cell", self._open(attacks))
        with reading(self.store.engine) as connection:
            return (
                connection.execute(query.where(waits, owners.c.visitor != whose)).first()
                is not None
            )

    def longest(self, job: Job) -> float:
        """Seconds that an attack may take; no end to what the command line asks for."""
        with reading(self.store.engine) as connection:
            owned = connection.execute(select(owners).where(owners.c.job == job.id)).first()
            minutes = limits_of(connection).minutes
        return 60.0 * minutes if owned and minutes else inf

    # --- what comes of it -----------------------------------------------------------------------

    def finish_round(self, job: Job, moment: RoundResult, seconds: float) -> None:
        """Record and checkpoint, both or neither.  Raises EvictedError."""
        kept = moment.state.carried.tensors()
        row: dict[str, Any] = {
            "run": job.id,
            "round": moment.record.round,
            "body": moment.record.model_dump(mode="json"),
            "seconds": seconds,
            "arrays": self.store.arrays.put({"model": moment.state.model}),
            "memory": self.store.arrays.put(kept) if kept else None,
        }
        with writing(self.store.engine) as connection:
            body = moment.state.experiment.dump()
            self._update_in(connection, job, round=moment.record.round, body=body, deaths=0)
            connection.execute(insert(records).values(row))
        past = moment.record.round - 1
        if kept and moment.state.experiment.at(past).privacy.repeatable:
            self._thin_out(job.id, past)

    def _thin_out(self, run: str, round: int) -> None:
        """Forget an older memory, which may be as large as all clients' models together.

        Every tenth stays, so that no state is more than ten rounds of training away; and those of
        rounds that nothing repeats.
        """
        if round % KEPT == 0:
            return
        here = and_(records.c.run == run, records.c.round == round)
        with writing(self.store.engine) as connection:
            digest = connection.execute(select(records.c.memory).where(here)).scalar()
            connection.execute(update(records).where(here).values(memory=None))
            same = select(records.c.run).where(records.c.memory == digest).limit(1)
            if digest and connection.execute(same).first() is None:
                self.store.arrays.remove(digest)

    def show(self, job: Job, number: int, glimpse: AttackProgress) -> None:
        """One glimpse of an attack.  Raises EvictedError."""
        digest = self.store.arrays.put(dict(glimpse.pictures))
        body: dict[str, Any] = {"step": glimpse.step, "steps": glimpse.steps}
        body["objective"] = glimpse.objective
        if glimpse.score:
            body["score"] = glimpse.score.dump()
        with writing(self.store.engine) as connection:
            self._update_in(connection, job, deaths=0)
            row = {"attack": job.id, "number": number, "body": body, "arrays": digest}
            connection.execute(insert(attack_progress).values(row))

    def note(self, job: Job, result: dict[str, Any]) -> None:
        """The attack's result.  Raises EvictedError."""
        self._update(job, result=result)

    def forget_glimpses(self, job: Job) -> None:
        """An attack that is run again starts from nothing."""
        mine = attack_progress.c.attack == job.id
        with writing(self.store.engine) as connection:
            used = list(connection.scalars(select(attack_progress.c.arrays).where(mine)))
            connection.execute(delete(attack_progress).where(mine))
            remove_unused(connection, self.store.arrays, used)

    # --- commands -------------------------------------------------------------------------------

    def commands(self, job: Job) -> list[tuple[int, str, dict[str, Any]]]:
        """Those not carried out yet: number, kind, body."""
        query = select(commands).where(commands.c.job == job.id, commands.c.outcome == "")
        with reading(self.store.engine) as connection:
            rows = connection.execute(query.order_by(commands.c.number)).all()
        return [(row.number, row.kind, row.body) for row in rows]

    def carried_out(
        self, job: Job, number: int, outcome: str, changed: Experiment | None = None
    ) -> None:
        """What came of a command, and the experiment if it was changed.  Raises EvictedError."""
        with writing(self.store.engine) as connection:
            if changed:
                self._update_in(connection, job, body=changed.dump())
            which = commands.c.number == number
            connection.execute(update(commands).where(which).values(outcome=outcome))

    # --- how ------------------------------------------------------------------------------------

    def _open(self, attacks: bool) -> ColumnElement[bool]:
        """Of what waits: all but what another worker has set aside, as long as it lives."""
        mine = jobs.c.worker == self.worker
        free = or_(jobs.c.worker.is_(None), jobs.c.lease.is_(None), jobs.c.lease < time.time())
        return or_(mine, free if attacks else and_(free, jobs.c.kind != "attack"))

    def _mine(self, job: Job) -> Update:
        mine = and_(jobs.c.id == job.id, jobs.c.worker == self.worker)
        return update(jobs).where(mine, jobs.c.status.in_(ACTIVE))

    def _update(self, job: Job, **values: Any) -> None:
        with writing(self.store.engine) as connection:
            self._update_in(connection, job, **values)

    def _update_in(self, connection: Connection, job: Job, **values: Any) -> None:
        if connection.execute(self._mine(job).values(**values)).rowcount == 0:
            raise LeaseLostError(f"job {job.id} has gone to another worker")
