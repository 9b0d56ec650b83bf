"""Parquet files by day, for analysis elsewhere: inferences and feedback, a page at a time."""

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, Float, LargeBinary, Table, Text, func, select

from pp_resources.progress import steps
from pp_resources.store.buckets import DAY
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.rebuild import pages
from pp_resources.store.schema import feedback, inferences

if TYPE_CHECKING:
    import pyarrow as pa

_LEFT_OUT = {"content", "slot"}
TABLES = {"inferences": inferences, "feedback": feedback}


def export(store: Store, folder: Path, *, since: int | None = None, until: int | None = None) -> list[dict[str, Any]]:
    """Write `<table>/day=YYYY-MM-DD/rows.parquet` for each UTC day from `since` until before `until` (seconds since 1970) that has rows.

    A file is complete when it has its name; one that is there is written anew, since rows may have come or gone. Times are microseconds,
    nested values JSON text. Returns the files with their rows.
    """
    written = []
    for name, table in TABLES.items():
        days = list(days_of(store, table, since, until))
        with steps(f"export {name}", len(days)) as advance:
            for day in days:
                date = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)).date().isoformat()
                file = folder / name / f"day={date}" / "rows.parquet"
                count = _write(store, table, day, file)
                if count:
                    written.append({"file": str(file), "rows": count})
                advance(date)
    return written


def exported_columns(table: Table) -> list[Column[Any]]:
    """The columns of a table that analyses get."""
    return [column for column in table.c if column.name not in _LEFT_OUT]


def rows_of_day(store: Store, table: Table, day: int) -> Iterator[list[Mapping[str, Any]]]:
    """The exported columns of one day's rows (days since 1970), some thousands at a time, as they are at one moment."""
    low, high = day * DAY * MICRO, (day + 1) * DAY * MICRO
    with store.reading() as db:
        yield from pages(db, exported_columns(table), table.c.at, table.c.id, where=(table.c.at >= low) & (table.c.at < high))


def days_of(store: Store, table: Table, since: int | None, until: int | None) -> range:
    """The days (since 1970) between the first and the last row of a table, within a range of seconds."""
    with store.reading() as db:
        first, last = db.execute(select(func.min(table.c.at), func.max(table.c.at))).one()
    if first is None:
        return range(0)
    low, high = first // MICRO // DAY, last // MICRO // DAY + 1
    return range(low if since is None else max(low, since // DAY), high if until is None else min(high, -(-until // DAY)))


def _write(store: Store, table: Table, day: int, file: Path) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema, count = _schema(table), 0
    writer, part = None, file.with_suffix(".part")
    try:
        for page in rows_of_day(store, table, day):
            if writer is None:
                file.parent.mkdir(parents=True, exist_ok=True)
                writer = pq.ParquetWriter(part, schema, compression="zstd")
            writer.write_table(pa.Table.from_pylist([dict(row) for row in page], schema))
            count += len(page)
    finally:
        if writer is not None:
            writer.close()
    if count:
        with part.open("rb") as handle:
            os.fsync(handle.fileno())
        part.rename(file)
    else:
        file.unlink(missing_ok=True)
    return count


def _schema(table: Table) -> "pa.Schema":
    import pyarrow as pa

    kinds = {Text: pa.string(), Float: pa.float64(), LargeBinary: pa.binary()}
    columns = exported_columns(table)
    return pa.schema(
        [(column.name, next((kind for of, kind in kinds.items() if isinstance(column.type, of)), pa.int64())) for column in columns]
    )
