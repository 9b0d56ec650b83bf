"""Statements of the writing path, compiled once: SQLAlchemy takes 5 ms to build those of a transaction, all else takes 1.5 ms."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import orjson
from sqlalchemy import Column, Connection, CursorResult, Dialect, Table, insert, select, text
from sqlalchemy.dialects import postgresql, sqlite

CHUNK = 1000
Build = Callable[[], Any]


class Prepared(NamedTuple):
    """A statement as text, and what makes its parameters of a row: a tuple, or the row itself where the driver takes them by name."""

    sql: str
    given: Callable[[Mapping[str, Any]], Any]


_made: dict[Any, Prepared] = {}


def write_rows(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert rows that have a value for every column."""
    if rows:
        made = _prepared(db.dialect, ("insert", table), lambda: insert(table))
        db.exec_driver_sql(made.sql, [made.given(row) for row in rows])


def merge_rows(db: Connection, table: Table, rows: Sequence[Mapping[str, Any]], merged: Callable[[Any, Any], Mapping[str, Any]]) -> None:
    """Insert rows, or where the key is there already set what `merged(old, new)` says of the columns; always the same for a table."""
    if rows:
        name = db.dialect.name
        made = _prepared(db.dialect, ("merge", table), lambda: upsert(name, table, merged))
        db.exec_driver_sql(made.sql, [made.given(row) for row in rows])


def upsert(dialect: str, table: Table, merged: Callable[[Any, Any], Mapping[str, Any]]) -> Any:
    """The statement of `merge_rows`."""
    made = (postgresql.insert if dialect == "postgresql" else sqlite.insert)(table)
    return made.on_conflict_do_update(index_elements=list(table.primary_key), set_=merged(table.c, made.excluded))


def rows_where(db: Connection, columns: Sequence[Column[Any]], among: Column[Any], wanted: Iterable[Any]) -> list[Mapping[str, Any]]:
    """Rows where a column is among the keys."""
    listed, found, lite = list(wanted), list[Any](), db.dialect.name == "sqlite"

    def build() -> Any:
        # One parameter for any number of keys.
        column = f"{among.table.name}.{among.name}"
        return select(*columns).where(text(f"{column} IN (SELECT value FROM json_each(:keys))" if lite else f"{column} = ANY(:keys)"))

    for start in range(0, len(listed), CHUNK):
        part = listed[start : start + CHUNK]
        keys = orjson.dumps(part).decode() if lite else part
        found += read(db, ("among", tuple(columns), among), build, {"keys": keys}).mappings()
    return found


def read(db: Connection, what: tuple[Any, ...], build: Build, values: Mapping[str, Any]) -> CursorResult[Any]:
    """Run a statement that is built once for all calls that name the same `what`."""
    made = _prepared(db.dialect, what, build)
    return db.exec_driver_sql(made.sql, made.given(values))


def _prepared(dialect: Dialect, what: tuple[Any, ...], build: Build) -> Prepared:
    key = (dialect.name, *what)
    made = _made.get(key)
    if made is None:
        compiled = build().compile(dialect=dialect)
        names = tuple(compiled.positiontup) if compiled.positional else ()
        # A getter of one name gives a bare value.
        given = itemgetter(*names) if len(names) > 1 else (lambda row: (row[names[0]],)) if names else dict
        made = _made[key] = Prepared(str(compiled), given)
    return made
