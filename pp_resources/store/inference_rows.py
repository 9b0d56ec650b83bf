"""Writing inferences: the rows, their episodes, their sums, and the feedback that was waiting for them."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, case

from pp_resources.store.buckets import Deltas
from pp_resources.store.common import Result, Values, split_known
from pp_resources.store.feedback_rows import bind
from pp_resources.store.prepared import merge_rows, rows_where, write_rows
from pp_resources.store.rows import Inference
from pp_resources.store.schema import episodes, inferences, served


def write_inferences(db: Connection, rows: Sequence[Inference], deltas: Deltas) -> list[Result]:
    """Store the new ones among the rows; one result each."""
    fresh, results = split_known(db, inferences, rows)
    if fresh:
        for values in fresh:
            values["shadow"] = int(values["shadow"])
            values["valid"] = None if values["valid"] is None else int(values["valid"])
            deltas.request(values)
        write_rows(db, inferences, fresh)
        bind(db, fresh, _episodes(db, [values for values in fresh if values["episode"] is not None]), deltas)
    return results


def _episodes(db: Connection, fresh: Sequence[Values]) -> list[Values]:
    """Put the inferences into their episodes; the (episode, task, variant, shadow) that are new."""
    if not fresh:
        return []
    grown: dict[str, Values] = {}
    answered: dict[tuple[str, str, str, int], None] = {}
    for values in fresh:
        name, at = values["episode"], values["at"]
        one = grown.setdefault(name, {"id": name, "first_at": at, "last_at": at, "inferences": 0})
        one |= {"first_at": min(one["first_at"], at), "last_at": max(one["last_at"], at), "inferences": one["inferences"] + 1}
        answered[name, values["task"], values["variant"], values["shadow"]] = None
    merge_rows(db, episodes, [grown[name] for name in sorted(grown)], _longer)
    known = {tuple(row.values()) for row in rows_where(db, list(served.c), served.c.episode, grown)}
    names = [column.name for column in served.c]
    fresh_served = [dict(zip(names, key)) for key in sorted(answered) if key not in known]
    write_rows(db, served, fresh_served)
    return fresh_served


def _longer(old: Any, new: Any) -> dict[str, Any]:
    earlier = case((new.first_at < old.first_at, new.first_at), else_=old.first_at)
    later = case((new.last_at > old.last_at, new.last_at), else_=old.last_at)
    return {"first_at": earlier, "last_at": later, "inferences": old.inferences + new.inferences}
