"""The tables of the store, and how to reach them: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    insert,
    make_url,
    select,
)
from sqlalchemy.exc import SQLAlchemyError

from lab.common.settings import SettingError

VERSION = 2
DATABASE = "LEAKLAB_DB"  # a SQLAlchemy URL

metadata = MetaData()

about = Table("about", metadata, Column("version", Integer, nullable=False))

# A job is a run, an attack on a run, or a cell of sweeps, which is a run that keeps measures only.
jobs = Table(
    "jobs",
    metadata,
    Column("id", String(16), primary_key=True),  # of a cell: the key of its experiment
    Column("kind", String(8), nullable=False),
    Column("run", String(16), ForeignKey("jobs.id"), index=True),  # what an attack attacks
    Column("body", JSON, nullable=False),  # the experiment, the attack's order, or both
    Column("status", String(8), nullable=False, index=True),
    Column("message", String, nullable=False, default=""),
    Column("round", Integer, nullable=False, default=0),  # the last one finished
    Column("until", Integer),  # pause after this round
    Column("created", Float, nullable=False),
    Column("queued", Float, nullable=False),  # its place in the queue
    Column("worker", String(32)),
    Column("lease", Float),  # the worker is given up for dead after this time
    Column("deaths", Integer, nullable=False, default=0),  # workers lost since the last round
    Column("result", JSON),
)

records = Table(
    "records",
    metadata,
    Column("run", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("round", Integer, primary_key=True),
    Column("body", JSON, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("arrays", String(64), nullable=False),  # the model
    Column("memory", String(64)),  # what the algorithm kept; of older rounds, only some have it
)

glimpses = Table(
    "glimpses",
    metadata,
    Column("attack", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("body", JSON, nullable=False),
    Column("arrays", String(64), nullable=False),  # the pictures
)

commands = Table(
    "commands",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("job", String(16), ForeignKey("jobs.id"), nullable=False, index=True),
    Column("kind", String(8), nullable=False),
    Column("body", JSON, nullable=False),
    Column("outcome", String, nullable=False, default=""),  # empty until it is carried out
)

# Whose turn it is when a job's turn comes.  Runs of the command line have no owner.
owners = Table(
    "owners",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("visitor", String(32), nullable=False, index=True),
)

# Who wants which cells.  What the command line wants is wanted by a visitor without a name.
wishes = Table(
    "wishes",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("visitor", String(32), primary_key=True),
    Column("asked", Float, nullable=False),
    Index("ix_wishes_visitor", "visitor"),
)

visitors = Table(
    "visitors",
    metadata,
    Column("id", String(32), primary_key=True),  # the hash of a browser's cookie
    Column("seen", Float, nullable=False),  # when one of its pages last told that it is there
    Column("served", Float, nullable=False, default=0.0),  # when a worker last took up a job of it
)

# Where a visitor was seen last: a name for the network address, see `lab.addresses`.
addresses = Table(
    "addresses",
    metadata,
    Column("visitor", String(32), primary_key=True),
    Column("address", String(32), nullable=False, index=True),
)

# Runs of which every round is looked over for what it gives away.
watches = Table(
    "watches",
    metadata,
    Column("run", String(16), ForeignKey("jobs.id"), primary_key=True),
)

# What people wrote beside a run.
notes = Table(
    "notes",
    metadata,
    Column("run", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("words", String, nullable=False),
)

limits = Table(
    "limits",
    metadata,
    Column("name", String(16), primary_key=True),
    Column("value", Integer, nullable=False),
)

# Shadow models, which any attack on the same run and round uses again.
shadows = Table(
    "shadows",
    metadata,
    Column("key", String(64), primary_key=True),  # sha256 of everything that determines the model
    Column("arrays", String(64), nullable=False, index=True),
    Column("bytes", Integer, nullable=False),
    Column("used", Float, nullable=False, index=True),  # when it was asked for last
)


class StoreError(SettingError):
    """The store cannot be read; the message says where it is and what to do."""


def default_url() -> str:
    """What LEAKLAB_DB says, or a file in the user's own data folder."""
    return os.environ.get(DATABASE) or f"sqlite:///{data_folder() / 'leaklab.db'}"


def data_folder() -> Path:
    """The user's own folder for Leaklab."""
    return Path(platformdirs.user_data_dir("leaklab", appauthor=False))


def connect(url: str) -> Engine:
    """Open the store, and create it where there is none.  Raises StoreError."""
    try:
        engine = create_engine(url)
        if engine.dialect.name == "sqlite":
            _prepare_sqlite(engine)
        with writing(engine) as connection:
            metadata.create_all(connection)
            _check_version(connection, url)
    except (SQLAlchemyError, OSError, ImportError) as error:
        reason = str(error).splitlines()[0]
        raise StoreError(
            f"the store {_shown(url)} cannot be used: {reason}; set {DATABASE} to another, such as "
            "sqlite:////tmp/leaklab.db"
        ) from None
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    with engine.connect() as connection:
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that holds SQLite's write lock from its start, so it never fails half-way."""
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


def _prepare_sqlite(engine: Engine) -> None:
    if engine.url.database:
        Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)

    @event.listens_for(engine, "connect")
    def _on_connect(raw: object, _: object) -> None:
        raw.isolation_level = None  # type: ignore[attr-defined]  # BEGIN is ours to say
        cursor = raw.cursor()  # type: ignore[attr-defined]
        for pragma in ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _on_begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _check_version(connection: Connection, url: str) -> None:
    found = connection.execute(select(about.c.version)).scalar()
    if found is None:
        connection.execute(insert(about).values(version=VERSION))
    elif found != VERSION:
        raise StoreError(
            f"the store {_shown(url)} has version {found} and this Leaklab reads version "
            f"{VERSION}: use the Leaklab that wrote it, or set {DATABASE} to a new store"
        )


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "(an unreadable URL)"
