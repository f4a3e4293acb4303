"""The tables of the store, and how to reach them: SQLite by default, PostgreSQL by URL."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import platformdirs
from alembic import command
from alembic.config import Config
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
    inspect,
    make_url,
    text,
)
from sqlalchemy.exc import SQLAlchemyError

from lab.common.settings import SettingError
from lab.storage.arrays import ArrayStore

VERSION = "3"  # the revision in `migrations` that this module describes
EARLIER = ("2",)  # versions that are upgraded when they are opened
DATABASE = "LEAKLAB_DB"  # a SQLAlchemy URL
ARRAYS = "LEAKLAB_ARRAYS"  # a folder

metadata = MetaData()

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

attack_progress = Table(
    "attack_progress",
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
requested_cells = Table(
    "requested_cells",
    metadata,
    Column("job", String(16), ForeignKey("jobs.id"), primary_key=True),
    Column("visitor", String(32), primary_key=True),
    Column("asked", Float, nullable=False),
    Index("ix_requested_cells_visitor", "visitor"),
)

visitors = Table(
    "visitors",
    metadata,
    Column("id", String(32), primary_key=True),  # the hash of a browser's cookie
    Column("seen", Float, nullable=False),  # when one of its pages last told that it is there
    Column("served", Float, nullable=False, default=0.0),  # when a worker last took up a job of it
)

# Where a visitor was seen last: a name for the network address, see `network_addresses`.
addresses = Table(
    "addresses",
    metadata,
    Column("visitor", String(32), primary_key=True),
    Column("address", String(32), nullable=False, index=True),
)

# Runs of which every round is looked over for what it gives away.
watched_runs = Table(
    "watched_runs",
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
cached_shadows = Table(
    "cached_shadows",
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
            _bring_up_to_date(connection, url)
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


def arrays_folder(url: str) -> Path:
    """Where the arrays of that store lie: what LEAKLAB_ARRAYS says, or beside the database."""
    beside = make_url(url).database if make_url(url).get_backend_name() == "sqlite" else None
    folder = Path(beside).parent if beside else data_folder()
    return Path(os.environ.get(ARRAYS) or folder / "arrays")


def _bring_up_to_date(connection: Connection, url: str) -> None:
    """Create the tables, or upgrade those of an earlier version, all or nothing."""
    found = _version_of(connection)
    if found == VERSION:
        return
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    settings.attributes.update(connection=connection, arrays=ArrayStore(arrays_folder(url)))
    if found is None:
        metadata.create_all(connection)
        command.stamp(settings, VERSION)
        return
    if found not in EARLIER:
        raise StoreError(
            f"the store {_shown(url)} has version {found} and this Leaklab reads version "
            f"{VERSION}: use the Leaklab that wrote it, or set {DATABASE} to a new store"
        )
    if not inspect(connection).has_table("alembic_version"):
        command.stamp(settings, found)
    command.upgrade(settings, VERSION)
    metadata.create_all(connection)  # the first stores of version 2 had fewer tables


def _version_of(connection: Connection) -> str | None:
    """The version of the store; None where there is none yet."""
    tables = inspect(connection)
    if tables.has_table("alembic_version"):
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    if not tables.has_table("about"):  # which named the version before there were migrations
        return None
    named = connection.execute(text("SELECT version FROM about")).scalar()
    return None if named is None else str(named)


def _shown(url: str) -> str:
    """The URL without its password."""
    try:
        return make_url(url).render_as_string(hide_password=True)
    except SQLAlchemyError:
        return "(an unreadable URL)"
