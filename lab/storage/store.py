"""The store: runs, their rounds, attacks on them.  The side of those who look and command.

Everything that a page shows is read from here, so a refresh, a second browser or a restart of the
server loses nothing.  What workers write, they write through `lab.storage.worker_store`.
"""

from __future__ import annotations

import os
import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from torch import Tensor

from lab.attack_runs.membership.server import check_watched
from lab.attack_runs.secure_aggregation.malicious_server import check_siege
from lab.attack_runs.shared.attack_request import Aim
from lab.audits import Audit
from lab.audits.audit import Past
from lab.common.settings import SettingError, Settings
from lab.common.settings_text import write_value
from lab.engine.evaluation.record import Record
from lab.engine.run import State, begin
from lab.engine.run import run as rounds_of
from lab.experiment.experiment import Experiment
from lab.interfaces.privacy_attacks import Inference, Reconstruction, Spy, Surveillance, Unmasking
from lab.storage.array_disposal import PICTURE, remove_unused, uploaded
from lab.storage.arrays import Arrays
from lab.storage.database import (
    commands,
    connect,
    data_folder,
    default_url,
    glimpses,
    jobs,
    notes,
    owners,
    reading,
    records,
    watches,
    writing,
)
from lab.storage.run_limits import check_run
from lab.storage.shadow_cache import Stock
from lab.storage.visitors import (
    NOBODY,
    check_limits,
    line,
    owned_by,
    present,
    see,
    take,
    visible_to,
)

Status = Literal["queued", "running", "paused", "stopped", "finished", "failed"]
ACTIVE = ("queued", "running")
ARRAYS = "LEAKLAB_ARRAYS"  # a folder
LONGEST_NOTE = 2000  # letters


class Order(Settings):
    """What to attack, and with what."""

    spy: Spy
    round: int = Field(ge=1)
    client: int | None = Field(None, ge=0)
    picture: str | None = None  # the digest of a picture of the user's own, in place of a client
    label: int = Field(0, ge=0)  # the class that its owner trains it as
    targets: int = Field(0, ge=0, le=256)  # models by the run's recipe to attack besides

    def command(self, run: str) -> str:
        """The command line that does the same."""
        words = ["leaklab attack", self.spy.kind, "--run", run, "--round", str(self.round)]
        if isinstance(self.spy, Audit):
            words[:3] = ["leaklab audit", "--kind", self.spy.kind, "--run"]
        if self.picture is not None:
            words[:2] = ["leaklab invert YOUR_PICTURE --attack", self.spy.kind]
            words += ["--label", str(self.label)]
        if self.client is not None:
            words += ["--client", str(self.client)]
        if self.targets:
            words += ["--targets", str(self.targets)]
        usual = type(self.spy)().dump()
        for name, value in self.spy.dump().items():
            if usual[name] != value:
                words.append(f"-s {shlex.quote(f'{name}={write_value(value)}')}")
        return " ".join(words)


@dataclass(frozen=True)
class Job:
    """A run, an attack on one, or a cell of sweeps, as the store has it."""

    id: str
    kind: Literal["run", "attack", "cell"]
    run: str | None  # what an attack attacks
    body: dict[str, Any]
    status: Status
    message: str
    round: int  # the last one finished
    until: int | None  # pauses after this one
    created: float
    result: dict[str, Any] | None

    @classmethod
    def of(cls, row: Row[Any]) -> Job:
        return cls(**{name: getattr(row, name) for name in cls.__dataclass_fields__})

    @property
    def experiment(self) -> Experiment:
        return Experiment.read(self.body.get("experiment", self.body))  # by name beside attacks

    @property
    def aim(self) -> Aim | None:
        """The attack that a cell ends with, if it does; its body has both by name."""
        ends = self.kind == "cell" and "attack" in self.body
        return Aim.read(self.body["attack"]) if ends else None

    @property
    def probes(self) -> tuple[Aim, ...]:
        """The attacks on a cell while it runs."""
        return tuple(Aim.read(probe) for probe in self.body.get("probes", ()))

    @property
    def order(self) -> Order:
        return Order.read(self.body)

    @property
    def active(self) -> bool:
        return self.status in ACTIVE


def check_replay(job: Job, round: int) -> None:
    """Raises SettingError where a round's messages cannot be made once more."""
    if not job.experiment.at(round).privacy.repeatable:
        raise SettingError(
            f"round {round} of run {job.id} cannot be replayed: privacy.secure_noise drew noise "
            "that nothing repeats, and only its models are stored; choose a round without it, or "
            "an attack on the models"
        )


@dataclass(frozen=True)
class Round:
    """One finished round of a stored run."""

    record: Record
    seconds: float

    def line(self) -> dict[str, Any]:
        """The round as one JSON object."""
        return self.record.model_dump(mode="json") | {"seconds": round(self.seconds, 4)}


@dataclass(frozen=True)
class Sight:
    """One stored glimpse of an attack."""

    number: int
    body: dict[str, Any]
    arrays: str


class Store:
    """Runs by their id.  Several processes may share a store; each method is one transaction."""

    def __init__(self, url: str | None = None) -> None:
        """Raises StoreError."""
        self.url = url or default_url()
        self.engine = connect(self.url)
        beside = self.engine.url.database if self.engine.dialect.name == "sqlite" else None
        folder = Path(beside).parent if beside else data_folder()
        self.arrays = Arrays(Path(os.environ.get(ARRAYS) or folder / "arrays"))
        self.stock = Stock(self.engine, self.arrays)

    # --- look -----------------------------------------------------------------------------------

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

        names: of `lab.storage.visitors.names`; by default the command line's
        """
        hidden = and_(uploaded.is_not(None), ~owned_by(names))
        return self._jobs(and_(jobs.c.run == run, ~hidden), 200)

    def place(self, id: str) -> int:
        """How many jobs are likely to be taken up before this run or attack."""
        with reading(self.engine) as connection:
            waiting = line(connection)
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

    def rounds(self, run: str, after: int = 0) -> list[Round]:
        """Finished rounds later than `after`, in order."""
        query = select(records.c.body, records.c.seconds).where(
            records.c.run == run, records.c.round > after
        )
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(records.c.round)).all()
        return [Round(Record.model_validate(row.body), row.seconds) for row in rows]

    def state(self, run: str, round: int | None = None) -> State:
        """The state after `round`, by default the last finished one.  Raises SettingError."""
        job = self.run(run)
        wanted = job.round if round is None else round
        if not 0 <= wanted <= job.round:
            raise SettingError(f"round is {wanted}: run {run} has finished {job.round} rounds")
        whole = (self._checkpoint(job, past) for past in range(wanted, 0, -1))
        state = next((found for found in whole if found), begin(job.experiment))
        if state.round < wanted:  # a memory was thinned out: train on from the one before
            state = next(
                islice(rounds_of(job.experiment, state), wanted - state.round - 1, None)
            ).state
        return state

    def sent(self, run: str, round: int) -> Tensor:
        """The model that clients were sent in a finished round.  -> (params,)"""
        if round == 1:
            return begin(self.run(run).experiment).model
        query = select(records.c.arrays).where(records.c.run == run, records.c.round == round - 1)
        with reading(self.engine) as connection:
            return self.arrays.get(connection.execute(query).scalar_one())["model"]

    def _checkpoint(self, job: Job, round: int) -> State | None:
        """The state as it was stored; None where the algorithm's memory was not kept."""
        query = select(records.c.arrays, records.c.memory).where(
            records.c.run == job.id, records.c.round == round
        )
        with reading(self.engine) as connection:
            row = connection.execute(query).one()
        memory, then = {}, job.experiment.at(round)
        if then.remembers:
            # A twin of this run may have removed the very same memory while this one stored it.
            if row.memory is None or row.memory not in self.arrays:
                return None
            memory = self.arrays.get(row.memory)
        return State(round, self.arrays.get(row.arrays)["model"], job.experiment, memory)

    def sights(self, attack: str, after: int = 0) -> list[Sight]:
        """Glimpses of an attack later than number `after`, in order."""
        query = select(glimpses).where(glimpses.c.attack == attack, glimpses.c.number > after)
        with reading(self.engine) as connection:
            rows = connection.execute(query.order_by(glimpses.c.number)).all()
        return [Sight(row.number, row.body, row.arrays) for row in rows]

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

    # --- command --------------------------------------------------------------------------------

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
        with writing(self.engine) as connection:
            check_run(connection, visitor, experiment, 0, self.arrays)
            return self._enter_in(connection, "run", None, experiment.dump(), until, visitor)

    def attack(
        self,
        run: str,
        order: Order,
        held: Mapping[str, Any] | None = None,
        visitor: str = "",
        picture: Tensor | None = None,
    ) -> str:
        """Queue an attack on a finished round, unless it is held.  Raises SettingError.

        Whoever asks for an update of nobody in particular gets the round's first sender.

        picture: (1, *shape) uint8, whose digest the order has; it is stored with the order
        """
        job = self.run(run)
        if order.picture is not None:
            return self._attack_own(job, order, held, visitor, picture)
        if order.round > job.round:
            raise SettingError(f"round is {order.round}: run {run} has finished {job.round} rounds")
        if order.client is not None and order.client >= job.experiment.data.clients:
            raise SettingError(
                f"client is {order.client}: give 0 to {job.experiment.data.clients - 1}"
            )
        order.spy.suits(job.experiment.architecture)
        if order.targets and not isinstance(order.spy, Inference):
            raise SettingError(
                f"targets is {order.targets}, and {order.spy.kind} attacks one round of one run: "
                "give 0, or an attack on membership"
            )
        if isinstance(order.spy, Audit):
            self._check_audit(job, order, order.spy)
        if isinstance(order.spy, Unmasking):
            check_siege(job.experiment, order.round)
        if isinstance(order.spy, Surveillance):
            check_watched(order.spy, job.experiment, order.round)
        if isinstance(order.spy, (Reconstruction, Unmasking)):
            check_replay(job, order.round)
        if isinstance(order.spy, (Reconstruction, Unmasking)) and order.client is None:
            arrived = self.rounds(run, after=order.round - 1)[0].record.arrived
            if not arrived:
                raise SettingError(
                    f"nobody's update arrived in round {order.round}: choose another round"
                )
            order = order.model_copy(update={"client": arrived[0]})
        return self._enter("attack", run, order.dump(), held, visitor)

    def _attack_own(
        self,
        job: Job,
        order: Order,
        held: Mapping[str, Any] | None,
        visitor: str,
        picture: Tensor | None,
    ) -> str:
        """The picture is stored when the order is taken, and a refused order leaves none behind."""
        named = {} if picture is None else {PICTURE: picture}
        if named and self.arrays.put(named) != order.picture:
            raise ValueError("the order is of another picture")
        try:
            self._check_own(job, order)
            id = self._enter("attack", job.id, order.dump(), held, visitor)
        except SettingError:
            if named:
                with writing(self.engine) as connection:
                    remove_unused(connection, self.arrays, [order.picture])
            raise
        if named:  # once more: another visitor's attack on the same picture may have been deleted
            self.arrays.put(named)
        return id

    def _check_audit(self, job: Job, order: Order, audit: Audit) -> None:
        audit.refuse(Past(job.experiment, order.round, partial(self.sent, job.id), order.client))

    def _check_own(self, job: Job, order: Order) -> None:
        """A picture of the user's own needs a model only, and not that anybody has trained it."""
        if order.round > job.round + 1:
            raise SettingError(
                f"round is {order.round}: run {job.id} has models for rounds 1 to {job.round + 1}"
            )
        if not isinstance(order.spy, Reconstruction):
            raise SettingError(
                f"{order.spy.kind} reconstructs nothing: choose idlg or first-layer for a picture"
            )
        classes = job.experiment.data.source.classes
        if order.label >= len(classes):
            raise SettingError(f"label is {order.label}: give 0 to {len(classes) - 1}")
        order.spy.suits(job.experiment.architecture)
        self.picture(order, job)

    def picture(self, order: Order, job: Job) -> Tensor:
        """The user's own picture of an order on that run.  -> (1, *shape) uint8

        Raises SettingError.
        """
        found = self.arrays.get(str(order.picture)).get(PICTURE)
        shape = job.experiment.data.source.shape
        if found is None or found.dtype != torch.uint8 or found.shape != (1, *shape):
            raise SettingError(f"picture {order.picture} has not the shape of the run's: {shape}")
        return found

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
        with writing(self.engine) as connection:
            job = self._locked(connection, id)
            if not job.active:
                check_limits(connection, visitor)
                check_run(connection, visitor, job.experiment, job.round, self.arrays)
            values: dict[str, Any] = {"until": None if rounds is None else job.round + rounds}
            if not job.active:
                values |= {"status": "queued", "queued": time.time(), "deaths": 0, "message": ""}
            connection.execute(update(jobs).where(jobs.c.id == id).values(values))

    def change(self, id: str, settings: Mapping[str, Any], visitor: str = "") -> None:
        """New settings from the next round on.

        Raises SettingError for what a run cannot do, or what that visitor may not ask for.
        """
        with writing(self.engine) as connection:
            job = self._locked(connection, id)
            changed = job.experiment.changed_from(job.round + 1, settings)
            check_run(connection, visitor, changed, job.round, self.arrays)
            if job.status == "running":  # the worker knows which round is next
                self._tell(connection, id, "change", dict(settings))
            else:
                body = changed.dump()
                connection.execute(update(jobs).where(jobs.c.id == id).values(body=body))

    def watch(self, run: str, on: bool = True) -> None:
        """Whether the run's rounds are looked over from now on."""
        with writing(self.engine) as connection:
            connection.execute(delete(watches).where(watches.c.run == run))
            if on:
                connection.execute(insert(watches).values(run=run))

    def watched(self, run: str) -> bool:
        with reading(self.engine) as connection:
            query = select(watches.c.run).where(watches.c.run == run)
            return connection.execute(query).first() is not None

    def branch(self, run: str, round: int, visitor: str = "") -> str:
        """A new run that has everything of this one up to that round, and waits there, paused.

        Raises SettingError for a round that is not finished, and for a visitor who could not start
        what is left of it.
        """
        job = self.run(run)
        if not 1 <= round <= job.round:
            raise SettingError(f"round is {round}: run {run} has finished 1 to {job.round}")
        kept = [change for change in job.experiment.changes if change.round <= round]
        past = job.experiment.model_copy(update={"changes": tuple(kept)})
        # Its own noise from here on: the same noise twice would cancel between the two runs.
        experiment = past.changed_from(round + 1, {"nonce": secrets.randbelow(2**53 - 1) + 1})
        held = {"status": "paused", "round": round}
        columns = [column for column in records.c if column.name != "run"]
        rows = select(*columns).where(records.c.run == run, records.c.round <= round)
        with writing(self.engine) as connection:
            check_run(connection, visitor, experiment, round, self.arrays)
            new = self._enter_in(connection, "run", None, experiment.dump(), held, visitor)
            named = rows.add_columns(literal(new))
            names = [*[column.name for column in columns], "run"]
            connection.execute(insert(records).from_select(names, named))
        return new

    def annotate(self, run: str, words: str) -> None:
        """What to remember of a run, in place of what was noted before.  Raises SettingError."""
        self.run(run)
        if len(words) > LONGEST_NOTE:
            raise SettingError(f"note has {len(words)} letters: give {LONGEST_NOTE} at most")
        with writing(self.engine) as connection:
            connection.execute(delete(notes).where(notes.c.run == run))
            if words.strip():
                connection.execute(insert(notes).values(run=run, words=words.strip()))

    def notes(self) -> dict[str, str]:
        """What was noted, by run."""
        with reading(self.engine) as connection:
            return {row.run: row.words for row in connection.execute(select(notes)).all()}

    def seen(self, visitor: str, address: str = "") -> None:
        """A page of that visitor is open now, at that address; see `lab.storage.network_addresses`."""
        if visitor:
            with writing(self.engine) as connection:
                see(connection, visitor, address)

    def visitors(self) -> int:
        """How many have a page open now."""
        with reading(self.engine) as connection:
            return present(connection)

    # --- how ------------------------------------------------------------------------------------

    def _jobs(self, which: ColumnElement[bool], most: int) -> list[Job]:
        query = select(jobs).where(which).order_by(jobs.c.created.desc(), jobs.c.id).limit(most)
        with reading(self.engine) as connection:
            return [Job.of(row) for row in connection.execute(query).all()]

    def _enter(
        self, kind: str, run: str | None, body: Any, held: Mapping[str, Any] | None, visitor: str
    ) -> str:
        with writing(self.engine) as connection:
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
        take(connection, id, visitor)
        return id

    def _locked(self, connection: Connection, id: str) -> Job:
        row = connection.execute(select(jobs).where(jobs.c.id == id).with_for_update()).first()
        if row is None:
            raise SettingError(f"there is no run {id!r} in this store: leaklab runs lists them")
        return Job.of(row)

    def _end(self, id: str, kind: str, status: Status) -> None:
        with writing(self.engine) as connection:
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
