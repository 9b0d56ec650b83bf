"""What the writers of all tables need: looking up by many ids, numbers in the order of commits, the rule for rows that come again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Table, text, update

from pp_resources.errors import UserError
from pp_resources.store.prepared import rows_where
from pp_resources.store.rows import Ack, Row
from pp_resources.store.schema import counters

Result = Ack | UserError
Values = dict[str, Any]
CHUNK = 500
_TAKE = text(
    "INSERT INTO counters (name, value) VALUES (:name, :count) "
    "ON CONFLICT (name) DO UPDATE SET value = counters.value + excluded.value RETURNING value"
)


def chunks(items: Iterable[Any], size: int = CHUNK) -> Iterator[list[Any]]:
    """The items in order, so many at a time: databases limit the parameters of a statement."""
    listed = list(items)
    for start in range(0, len(listed), size):
        yield listed[start : start + size]


def take_numbers(db: Connection, name: str, count: int) -> int:
    """The first of `count` fresh numbers; inside the write transaction, so that readers meet them in order and without later fillings."""
    return int(db.execute(_TAKE, {"name": name, "count": count}).scalar_one()) - count + 1


def skip_numbers(db: Connection, name: str, to: int) -> None:
    """The next number is `to`, or a higher one where that is taken."""
    first = take_numbers(db, name, 0)
    if first < to:
        db.execute(update(counters).where(counters.c.name == name).values(value=to - 1))


def split_known(db: Connection, table: Table, rows: Sequence[Row], number: str | None = None) -> tuple[list[Values], list[Result]]:
    """Column values of the rows that are new, and a result for every row.

    A row whose id or key is there already gives the first one's answer when it says the same, else a UserError. With `number`, the column
    of that name numbers the new rows, and results carry it.
    """
    keyed = "key" in table.c
    columns = [table.c.id, table.c.content, *([table.c.key] if keyed else []), *([table.c[number]] if number else [])]
    found = rows_where(db, columns, table.c.id, {row.id for row in rows})
    if keyed:
        found += rows_where(db, columns, table.c.key, {key for row in rows if (key := getattr(row, "key", None)) is not None})
    known: dict[tuple[str, str | None], Any] = {}
    for one in found:
        known[("id", one["id"])] = one
        if keyed and one["key"] is not None:
            known[("key", one["key"])] = one
    fresh: list[Values] = []
    results: list[Any] = []
    for row in rows:
        values = row.values()
        values["content"] = row.content(values)
        key = getattr(row, "key", None)
        first = known.get(("key", key)) or known.get(("id", row.id))
        if first is None:
            fresh.append(values)
            known[("id", row.id)] = values
            if key is not None:
                known[("key", key)] = values
            results.append((values, True))
        elif first["content"] != values["content"]:
            name = f"key {key!r}" if known.get(("key", key)) else f"id {row.id!r}"
            results.append(
                UserError(f"{name} is taken by another {row.kind_name}", where=row.kind_name, how="leave it out or give a new one")
            )
        else:
            results.append((first, False))
    if number and fresh:
        start = take_numbers(db, table.name, len(fresh))
        for place, values in enumerate(fresh):
            values[number] = start + place
    return fresh, [one if isinstance(one, UserError) else Ack(one[0]["id"], one[0][number] if number else None, one[1]) for one in results]
