"""Commands to runs and attacks: start, pause, stop, resume, change, branch, annotate."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, insert, literal, select, update
from torch import Tensor

from lab.attack_runs.dispatch import check_attack
from lab.attack_runs.shared.attack_request import AttackRequest, needs_target, target_of
from lab.common.settings import SettingError
from lab.experiment.experiment import Experiment
from lab.storage.array_disposal import PICTURE, remove_unused
from lab.storage.database import commands, jobs, notes, records, watched_runs, writing
from lab.storage.job import Job, Status
from lab.storage.replay import StoredRun
from lab.storage.run_limits import check_run
from lab.storage.store import Store
from lab.storage.visitors import check_limits, heartbeat, set_owner

LONGEST_NOTE = 2000  # letters


@dataclass(frozen=True)
class RunCommands:
    """What may be done to the runs and attacks of a store.  Each method is one transaction."""

    store: Store

    def create(
        self,
        experiment: Experiment,
        rounds: int | None = None,
        held: Mapping[str, Any] | None = None,
        visitor: str = "",
    ) -> str:
        """Queue a new run, for `rounds` rounds if given, under an id that nobody can guess.

        held: what a worker enters that takes the run up itself.  Raises SettingError for a visitor
        who has too much at work already, or asks for too many rounds.
        """
        until = {"until": rounds} | dict(held or {})
        with writing(self.store.engine) as connection:
            check_run(connection, visitor, experiment, 0, self.store.arrays)
            return self._enter_in(connection, "run", None, experiment.dump(), until, visitor)

    def attack(
        self,
        run: str,
        order: AttackRequest,
        held: Mapping[str, Any] | None = None,
        visitor: str = "",
        picture: Tensor | None = None,
    ) -> str:
        """Queue an attack on a finished round, unless it is held.  Raises SettingError.

        Whoever asks for an update of nobody in particular gets the round's first sender.

        picture: (1, *shape) uint8, whose digest the order has; it is stored with the order
        """
        history = StoredRun(self.store, run)
        if order.picture is not None:
            return self._attack_own(history, order, held, visitor, picture)
        check_attack(order, history)
        if needs_target(order.attack):
            order = order.model_copy(update={"client": target_of(order, history)})
        return self._enter("attack", run, order.dump(), held, visitor)

    def pause(self, id: str) -> None:
        """At once if the job waits, and after the present round if it runs.

        Where that takes too long the supervisor ends the round, of which nothing is kept.
        """
        self._end(id, "pause", "paused")

    def stop(self, id: str) -> None:
        """As `pause`, but done with; a stopped run can still be resumed."""
        self._end(id, "stop", "stopped")

    def resume(self, id: str, rounds: int | None = None, visitor: str = "") -> None:
        """Back into the queue; for `rounds` more rounds only, if given.

        Raises SettingError for a visitor who could not start it now.
        """
        with writing(self.store.engine) as connection:
            job = self._locked(connection, id)
            if not job.active:
                check_limits(connection, visitor)
                check_run(connection, visitor, job.experiment, job.round, self.store.arrays)
            values: dict[str, Any] = {"until": None if rounds is None else job.round + rounds}
            if not job.active:
                values |= {"status": "queued", "queued": time.time(), "deaths": 0, "message": ""}
            connection.execute(update(jobs).where(jobs.c.id == id).values(values))

    def change(self, id: str, settings: Mapping[str, Any], visitor: str = "") -> None:
        """New settings from the next round on.

        Raises SettingError for what a run cannot do, or what that visitor may not ask for.
        """
        with writing(self.store.engine) as connection:
            job = self._locked(connection, id)
            changed = job.experiment.changed_from(job.round + 1, settings)
            check_run(connection, visitor, changed, job.round, self.store.arrays)
            if job.status == "running":  # the worker knows which round is next
                self._tell(connection, id, "change", dict(settings))
            else:
                body = changed.dump()
                connection.execute(update(jobs).where(jobs.c.id == id).values(body=body))

    def watch(self, run: str, on: bool = True) -> None:
        """Whether the run's rounds are looked over from now on."""
        with writing(self.store.engine) as connection:
            connection.execute(delete(watched_runs).where(watched_runs.c.run == run))
            if on:
                connection.execute(insert(watched_runs).values(run=run))

    def branch(self, run: str, round: int, visitor: str = "") -> str:
        """A new run that has everything of this one up to that round, and waits there, paused.

        Raises SettingError for a round that is not finished, and for a visitor who could not start
        what is left of it.
        """
        job = self.store.run(run)
        if not 1 <= round <= job.round:
            raise SettingError(f"round is {round}: run {run} has finished 1 to {job.round}")
        kept = [change for change in job.experiment.changes if change.round <= round]
        past = job.experiment.model_copy(update={"changes": tuple(kept)})
        # Its own noise from here on: the same noise twice would cancel between the two runs.
        experiment = past.changed_from(round + 1, {"nonce": secrets.randbelow(2**53 - 1) + 1})
        held = {"status": "paused", "round": round}
        columns = [column for column in records.c if column.name != "run"]
        rows = select(*columns).where(records.c.run == run, records.c.round <= round)
        with writing(self.store.engine) as connection:
            check_run(connection, visitor, experiment, round, self.store.arrays)
            new = self._enter_in(connection, "run", None, experiment.dump(), held, visitor)
            named = rows.add_columns(literal(new))
            names = [*[column.name for column in columns], "run"]
            connection.execute(insert(records).from_select(names, named))
        return new

    def annotate(self, run: str, words: str) -> None:
        """What to remember of a run, in place of what was noted before.  Raises SettingError."""
        self.store.run(run)
        if len(words) > LONGEST_NOTE:
            raise SettingError(f"note has {len(words)} letters: give {LONGEST_NOTE} at most")
        with writing(self.store.engine) as connection:
            connection.execute(delete(notes).where(notes.c.run == run))
            if words.strip():
                connection.execute(insert(notes).values(run=run, words=words.strip()))

    def seen(self, visitor: str, address: str = "") -> None:
        """A page of that visitor is open now, at that address; see `network_addresses`."""
        if visitor:
            with writing(self.store.engine) as connection:
                heartbeat(connection, visitor, address)

    def _attack_own(
        self,
        history: StoredRun,
        order: AttackRequest,
        held: Mapping[str, Any] | None,
        visitor: str,
        picture: Tensor | None,
    ) -> str:
        """The picture is stored when the order is taken, and a refused order leaves none behind."""
        named = {} if picture is None else {PICTURE: picture}
        if named and self.store.arrays.put(named) != order.picture:
            raise ValueError("the order is of another picture")
        try:
            check_attack(order, history)
            id = self._enter("attack", history.id, order.dump(), held, visitor)
        except SettingError:
            if named:
                with writing(self.store.engine) as connection:
                    remove_unused(connection, self.store.arrays, [order.picture])
            raise
        if named:  # once more: another visitor's attack on the same picture may have been deleted
            self.store.arrays.put(named)
        return id

    def _enter(
        self, kind: str, run: str | None, body: Any, held: Mapping[str, Any] | None, visitor: str
    ) -> str:
        with writing(self.store.engine) as connection:
            return self._enter_in(connection, kind, run, body, held, visitor)

    def _enter_in(
        self,
        connection: Connection,
        kind: str,
        run: str | None,
        body: Any,
        held: Mapping[str, Any] | None,
        visitor: str,
    ) -> str:
        id, now = secrets.token_hex(8), time.time()
        values = {"id": id, "kind": kind, "run": run, "body": body, "created": now, "queued": now}
        check_limits(connection, visitor)
        connection.execute(insert(jobs).values({"status": "queued"} | values | dict(held or {})))
        set_owner(connection, id, visitor)
        return id

    def _locked(self, connection: Connection, id: str) -> Job:
        row = connection.execute(select(jobs).where(jobs.c.id == id).with_for_update()).first()
        if row is None:
            raise SettingError(f"there is no run {id!r} in this store: leaklab runs lists them")
        return Job.of(row)

    def _end(self, id: str, kind: str, status: Status) -> None:
        with writing(self.store.engine) as connection:
            job = self._locked(connection, id)
            held = jobs.c.lease >= time.time()  # a worker has it in memory, if only set aside
            aside = select(jobs.c.id).where(jobs.c.id == id, jobs.c.status == "queued", held)
            if job.status == "running" or connection.execute(aside).first():
                self._tell(connection, id, kind, {})
            elif job.status in ("queued", "paused"):
                ended = {"status": status, "worker": None, "lease": None}
                connection.execute(update(jobs).where(jobs.c.id == id).values(ended))

    def _tell(self, connection: Connection, id: str, kind: str, body: dict[str, Any]) -> None:
        connection.execute(insert(commands).values(job=id, kind=kind, body=body))
