"""Reading inferences: one, and a page of those that match."""

from dataclasses import fields
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, RowMapping, TextClause, and_, select, text, tuple_

from pp_resources.store.opened import Store
from pp_resources.store.rows import Inference
from pp_resources.store.schema import BAD, inferences

_COLUMNS = [inferences.c[field.name] for field in fields(Inference)]
_JSON = ("tags", "decision", "chain")


class Page(NamedTuple):
    """Inferences, newest first; `next` is the cursor of the page after, None where there is none."""

    rows: list[Inference]
    next: tuple[int, str] | None


def inference(store: Store, id: str) -> Inference | None:
    """One inference as it was written."""
    with store.reading() as db:
        row = db.execute(select(*_COLUMNS).where(inferences.c.id == id)).mappings().one_or_none()
    return None if row is None else _inference(row)


def list_inferences(
    store: Store,
    *,
    task: str | None = None,
    variant: str | None = None,
    episode: str | None = None,
    subject: str | None = None,
    shadow: bool | None = None,
    bad: bool = False,
    since: int | None = None,
    until: int | None = None,
    before: tuple[int, str] | None = None,
    limit: int = 50,
) -> Page:
    """A page of the inferences that match all that is given: `bad` those that failed or broke their schema, since <= time < until. `before`
    is the cursor of an earlier page: pages neither overlap nor skip, whatever is written meanwhile."""
    c = inferences.c
    conditions: list[ColumnElement[bool] | TextClause] = [
        column == wanted
        for column, wanted in ((c.task, task), (c.variant, variant), (c.episode, episode), (c.subject, subject))
        if wanted is not None
    ]
    if shadow is not None:
        conditions.append(c.shadow == int(shadow))
    if bad:
        conditions.append(text(BAD))
    conditions += [c.at >= since] if since is not None else []
    conditions += [c.at < until] if until is not None else []
    # The bound on time alone is what an index serves.
    conditions += [c.at <= before[0], tuple_(c.at, c.id) < before] if before is not None else []
    query = select(*_COLUMNS).where(and_(True, *conditions)).order_by(c.at.desc(), c.id.desc()).limit(limit + 1)
    with store.reading() as db:
        rows = [_inference(row) for row in db.execute(query).mappings()]
    more = len(rows) > limit
    return Page(rows[:limit], (rows[limit - 1].at, rows[limit - 1].id) if more else None)


def _inference(row: RowMapping) -> Inference:
    values: dict[str, Any] = dict(row)
    values |= {name: orjson.loads(values[name]) for name in _JSON}
    values |= {"shadow": bool(values["shadow"]), "valid": None if values["valid"] is None else bool(values["valid"])}
    return Inference(**values)
