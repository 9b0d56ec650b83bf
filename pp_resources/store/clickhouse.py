"""A copy of the rows in ClickHouse, for questions over more of them than one file should answer. The store stays what counts.

`dsn` is `clickhouse://user:password@host:port/database` for a server, or `chdb:///folder` for the engine embedded in this process (the
package chdb): one process owns such a folder, and a second one is refused. Each UTC day is a partition, replaced as a whole, so loading
again changes nothing and what the store forgot goes here too.
"""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Float, Table, Text

from pp_resources.errors import UserError
from pp_resources.progress import steps
from pp_resources.store.analytics import DAY_MICROS, plain, sql_of
from pp_resources.store.buckets import DAY
from pp_resources.store.export import TABLES, days_of, exported_columns, rows_of_day
from pp_resources.store.opened import Store


class ClickHouse:
    """Tables of one database. Raises UserError where the client is missing or the server cannot be reached."""

    def __init__(self, dsn: str) -> None:
        try:
            import clickhouse_connect

            self._client = clickhouse_connect.get_client(dsn=dsn)
        except ModuleNotFoundError as error:
            raise UserError("needs clickhouse-connect", where="clickhouse", how="pip install 'promptprecision[clickhouse]'") from error
        except Exception as error:
            # The client has errors of its own, of its transport, and of the embedded engine, with no parent in common.
            raise UserError(f"cannot be opened: {str(error).splitlines()[0]}", where=f"clickhouse {dsn.rpartition('@')[2]}") from error
        for name, table in TABLES.items():
            columns = ", ".join(f"{column.name} {_type(column)}" for column in exported_columns(table))
            engine = f"MergeTree PARTITION BY intDiv(at, {DAY_MICROS}) ORDER BY (at, id)"
            self._client.command(f"CREATE TABLE IF NOT EXISTS pp_{name} ({columns}) ENGINE = {engine}")

    def load(self, store: Store, *, since: int | None = None) -> dict[str, int]:
        """Copy the days from `since` (seconds since 1970) on, all by default; the rows copied by table. A day in which feedback was
        corrected or bound later has to be loaded again, as does all after an erasure."""
        copied = {}
        for name, table in TABLES.items():
            there = {row[0] for row in self._client.query(f"SELECT DISTINCT intDiv(at, {DAY_MICROS}) FROM pp_{name}").result_rows}
            days = set(days_of(store, table, since, None)) | {day for day in there if since is None or day >= since // DAY}
            with steps(f"load {name}", len(days)) as advance:
                copied[name] = sum(self._load_day(store, name, table, day, advance) for day in sorted(days))
        return copied

    def ask(self, question: str) -> list[dict[str, Any]]:
        """The answer to a question of `analytics.QUESTIONS`, as `analytics.ask` gives it."""
        sql = sql_of(question, day=lambda column: f"intDiv({column}, {DAY_MICROS})", table=lambda name: f"pp_{name}")
        return [plain(row) for row in self._client.query(sql).named_results()]

    def close(self) -> None:
        self._client.close()

    def _load_day(self, store: Store, name: str, table: Table, day: int, advance: Any) -> int:
        columns = [column.name for column in exported_columns(table)]
        self._client.command(f"ALTER TABLE pp_{name} DROP PARTITION {int(day)}")
        count = 0
        for page in rows_of_day(store, table, day):
            self._client.insert(f"pp_{name}", [_values(row, columns) for row in page], column_names=columns)
            count += len(page)
        advance(str(day))
        return count


def _values(row: Any, columns: Iterable[str]) -> list[Any]:
    return [row[name] for name in columns]


def _type(column: Any) -> str:
    base = "String" if isinstance(column.type, Text) else "Float64" if isinstance(column.type, Float) else "Int64"
    return f"Nullable({base})" if column.nullable else base
