"""The version of a store's tables: made or raised when it is opened, by one process at a time.

A new store is made from `schema`. To change a table: change it there, raise VERSION, and add the step that older stores take to UPGRADES.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from sqlalchemy import Connection, Engine, inspect, select

from pp_resources.errors import UserError
from pp_resources.store.engine import reachable, reading, writing
from pp_resources.store.prepared import merge_rows
from pp_resources.store.schema import VERSION, decisions, meta, metadata, queue

Upgrade = Callable[[Connection], None]


def _indexes_for_dashboards(db: Connection) -> None:
    for table, name in ((queue, "queue_task"), (decisions, "decisions_kind")):
        next(index for index in table.indexes if index.name == name).create(db, checkfirst=True)


def _people_work_the_queue(db: Connection) -> None:
    for column in ("detail TEXT", "subject TEXT", "until BIGINT", "agrees SMALLINT"):
        db.exec_driver_sql(f"ALTER TABLE queue ADD COLUMN {column}")
    next(index for index in queue.indexes if index.name == "queue_changed").create(db)


UPGRADES: Mapping[int, Upgrade] = {2: _people_work_the_queue, 3: _indexes_for_dashboards}  # the step to this version from the one before


def migrate(engine: Engine, version: int = VERSION, upgrades: Mapping[int, Upgrade] = UPGRADES) -> None:
    """Bring the tables to `version`. Raises UserError for a store that is newer than this."""
    with reading(engine) as db:
        found = _version(db)
    if found < version:
        with _alone(engine), writing(engine) as db:
            _raise_version(db, version, upgrades)
    elif found > version:
        raise _too_new(engine, found, version)


def _raise_version(db: Connection, version: int, upgrades: Mapping[int, Upgrade]) -> None:
    found = _version(db)  # another process may have been faster
    if found > version:
        raise _too_new(db.engine, found, version)
    if not found:
        metadata.create_all(db)
    else:
        for step in range(found + 1, version + 1):
            upgrades[step](db)
    merge_rows(db, meta, [{"name": "version", "value": str(version)}], lambda _, new: {"value": new.value})


def _version(db: Connection) -> int:
    """0 where there are no tables yet."""
    if not inspect(db).has_table("meta"):
        return 0
    return int(db.execute(select(meta.c.value).where(meta.c.name == "version")).scalar() or 0)


@contextmanager
def _alone(engine: Engine) -> Iterator[None]:
    """The journal mode of a fresh SQLite file is changed without waiting for others, whatever the timeout: one at a time."""
    if engine.url.get_backend_name() != "sqlite":
        yield  # the transaction's own lock is enough
        return
    with FileLock(Path(f"{engine.url.database}.lock"), timeout=60), reachable(engine):
        raw = engine.raw_connection()
        try:
            raw.cursor().execute("PRAGMA journal_mode = WAL")
        finally:
            raw.close()
        yield


def _too_new(engine: Engine, found: int, version: int) -> UserError:
    where = engine.url.render_as_string(hide_password=True)
    return UserError(f"made by a newer version (tables {found}, this knows {version})", where=where, how="update promptprecision")
