"""The database behind the store: how it is opened, and which of its errors mean that it cannot be reached."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, exc
from sqlalchemy.engine import URL, make_url

from pp_resources.errors import UserError

LOCK_KEY = 5_082_261_774  # of PostgreSQL's advisory lock: one writing transaction at a time, as in SQLite
PATIENCE = 5.0  # seconds to wait for another process's lock, for a connection or for a statement


class StoreUnavailable(UserError):
    """The store cannot be reached, is locked or its disk is full. Nothing is wrong with what was to be written."""


def address(home: Path, url: str | None) -> URL:
    """The store of an installation. Raises UserError for an address that is neither PostgreSQL nor a file of SQLite."""
    if not url:
        return URL.create("sqlite", database=str(home / "store" / "store.db"))
    how = "give postgresql://user:password@host:port/database, or leave it out for SQLite"
    try:
        made = make_url(url)
    except exc.ArgumentError as error:
        raise UserError("not an address", where="PP_STORE_URL", how=how) from error
    if made.get_backend_name() == "postgresql":
        return made.set(drivername="postgresql+psycopg")
    if made.get_backend_name() != "sqlite" or not made.database or made.database == ":memory:":
        raise UserError(f"{made.drivername!r} is no store", where="PP_STORE_URL", how=how)
    return made


def make_engine(url: URL, patience: float = PATIENCE) -> Engine:
    """An engine whose transactions are durable when they return. `writing` marks those that write."""
    if url.get_backend_name() == "sqlite":
        engine = create_engine(url, connect_args={"timeout": patience, "isolation_level": None, "check_same_thread": False})
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    milliseconds = int(patience * 1000)
    options = f"-c statement_timeout={milliseconds} -c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout=60000"
    arguments = {"connect_timeout": max(2, int(patience)), "tcp_user_timeout": milliseconds, "options": options}
    try:
        return create_engine(url, connect_args=arguments, pool_pre_ping=True, pool_timeout=patience)
    except ModuleNotFoundError as error:
        raise UserError("PostgreSQL needs psycopg", where="PP_STORE_URL", how="pip install 'promptprecision[postgres]'") from error


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other writer runs beside; committed, that is on disk, at the end."""
    with reachable(engine), engine.connect().execution_options(pp_writes=True) as db, db.begin():
        if db.dialect.name == "postgresql":
            # Sequence numbers are then in the order of commits, and no two writers judge one slot by rows that miss each other's.
            db.exec_driver_sql(f"SELECT pg_advisory_xact_lock({LOCK_KEY})")
        yield db


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """A transaction that reads one state of the store."""
    with reachable(engine), engine.connect() as db, db.begin():
        yield db


@contextmanager
def reachable(engine: Engine) -> Iterator[None]:
    """Turns what the database says when it cannot be reached into StoreUnavailable. Errors of our own making pass as they are."""
    try:
        yield
    except (exc.SQLAlchemyError, sqlite3.Error) as error:  # the latter of a raw connection
        if isinstance(error, exc.SQLAlchemyError) and not _is_outage(error):
            raise
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        where = "store" if engine.url.get_backend_name() == "sqlite" else "PP_STORE_URL"
        place = engine.url.render_as_string(hide_password=True)
        raise StoreUnavailable(said, where=f"{where}: {place}", how="see that it is there, has room and is not locked") from error


def _is_outage(error: exc.SQLAlchemyError) -> bool:
    if isinstance(error, exc.OperationalError | exc.InterfaceError | exc.TimeoutError):
        # A statement that names what is not there is ours, which SQLite files under the same class.
        return "no such" not in str(getattr(error, "orig", ""))
    # A file that is no database raises the parent of all of them.
    return type(error) is exc.DatabaseError or (isinstance(error, exc.DBAPIError) and error.connection_invalidated)


def _prepare_sqlite(db: sqlite3.Connection, _record: Any) -> None:
    # The journal mode is kept in the file and set once, under the lock of the migration.
    for pragma in ("synchronous = FULL", "secure_delete = ON", "temp_store = MEMORY", "cache_size = -65536"):
        db.execute(f"PRAGMA {pragma}")


def _begin_sqlite(db: Connection) -> None:
    # A transaction that first reads and then writes could be refused half-way: writers take the lock at the start.
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("pp_writes") else "BEGIN")
