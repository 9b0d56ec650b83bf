"""Writing feedback: what comes again is known, what comes later corrects, what comes too early waits, and the sums follow."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, update

from pp_resources.store.buckets import Deltas, Place
from pp_resources.store.common import Result, Values, split_known, take_numbers
from pp_resources.store.prepared import rows_where, write_rows
from pp_resources.store.rows import VALUES, Feedback
from pp_resources.store.schema import feedback, inferences, served

_NEEDED = ("seq", "id", "kind", "task", "metric", "inference", "episode", "value", "at", "supersedes", "slot", "counts")
COLUMNS = [feedback.c[name] for name in _NEEDED]
Places = Mapping[tuple[str, str], Sequence[tuple[str, str, int, int | None]]]


def write_feedback(db: Connection, rows: Sequence[Feedback], deltas: Deltas) -> list[Result]:
    """Store the new ones among the rows; one result each."""
    fresh, results = split_known(db, feedback, rows, number="seq")
    if not fresh:
        return results
    by_id = {row.id: row for row in rows}
    for values in fresh:
        values |= {"slot": by_id[values["id"]].slot, "counts": 0, "visible": values["seq"]}
    found = places(db, fresh)
    for values in fresh:
        there = found.get(target(values), ())
        if there:
            values["task"] = there[0][0]
        elif values["input"] is None:
            values["visible"] = None
    changed = _settle(db, fresh, found, deltas)
    write_rows(db, feedback, fresh)
    if changed:
        db.execute(update(feedback).where(feedback.c.seq == bindparam("of")).values(counts=bindparam("now")), changed)
    return results


def _settle(db: Connection, fresh: Sequence[Values], found: Places, deltas: Deltas) -> list[Values]:
    """Decide again who counts in every slot that got a new row; tells which stored rows change."""
    slots: dict[str, list[Any]] = defaultdict(list)
    for row in rows_where(db, COLUMNS, feedback.c.slot, {values["slot"] for values in fresh}):
        slots[row["slot"]].append(row)
    changed = []
    for values in fresh:
        slots[values["slot"]].append(values)
    for members in slots.values():
        before: Any = next((row for row in members if row["counts"]), None)
        after = in_force(members)
        if before is after:
            continue
        for row, sign in ((before, -1), (after, 1)):
            if row is None:
                continue
            count_in(deltas, row, found.get(target(row), ()), sign)
            if isinstance(row, dict):
                row["counts"] = int(sign > 0)
            else:
                changed.append({"of": row["seq"], "now": int(sign > 0)})
    return changed


def in_force(members: Iterable[Mapping[str, Any]]) -> Any:
    """Who counts in one slot: the last by time (ties by id) of those that no other one corrects. The same in any order."""
    members = list(members)
    corrected = {row["supersedes"] for row in members}
    return max((row for row in members if row["id"] not in corrected), key=lambda row: (row["at"], row["id"]), default=None)


def target(row: Mapping[str, Any]) -> tuple[str, str]:
    """What a feedback is about, as a key of `places`."""
    if row["inference"]:
        return "inference", row["inference"]
    return ("episode", row["episode"]) if row["episode"] else ("task", row["task"])


def places(db: Connection, rows: Iterable[Mapping[str, Any]]) -> Places:
    """To whom what is said of each target goes: (task, variant, shadow, time), the time None where it is the feedback's own.

    Of an inference to its variant, at the time of the inference; of an episode to every variant that answered in it; of an input that the
    store never saw to the task, variant "".
    """
    targets = {target(row) for row in rows}
    found: dict[tuple[str, str], list[tuple[str, str, int, int | None]]] = {
        ("task", name): [(name, "", 0, None)] for kind, name in targets if kind == "task"
    }
    wanted = [name for kind, name in targets if kind == "inference"]
    columns = [inferences.c.id, inferences.c.task, inferences.c.variant, inferences.c.shadow, inferences.c.at]
    for row in rows_where(db, columns, inferences.c.id, wanted):
        found["inference", row["id"]] = [(row["task"], row["variant"], row["shadow"], row["at"])]
    wanted = [name for kind, name in targets if kind == "episode"]
    for row in sorted(rows_where(db, list(served.c), served.c.episode, wanted), key=lambda row: tuple(row.values())):
        found.setdefault(("episode", row["episode"]), []).append((row["task"], row["variant"], row["shadow"], None))
    return found


def count_in(deltas: Deltas, row: Mapping[str, Any], to: Iterable[tuple[str, str, int, int | None]], sign: int = 1, kept: int = 0) -> None:
    """Add a feedback's value to the sums of those it is about; comments and demonstrations have none."""
    if row["kind"] in VALUES:
        for task, variant, shadow, at in to:
            deltas.score(Place(task, variant, shadow, row["at"] if at is None else at), row["metric"], row["value"], sign, kept)


def bind(db: Connection, new: Iterable[Mapping[str, Any]], new_served: Iterable[Mapping[str, Any]], deltas: Deltas) -> None:
    """Feedback that came before its target: give it its task, its place for readers, and its part in the sums."""
    arrived = {row["id"]: (row["task"], row["variant"], row["shadow"], row["at"]) for row in new}
    early = rows_where(db, [*COLUMNS, feedback.c.visible], feedback.c.inference, arrived)
    waiting = [(row, arrived[row["inference"]]) for row in early]
    triples: dict[str, list[Any]] = defaultdict(list)
    for row in new_served:
        triples[row["episode"]].append((row["task"], row["variant"], row["shadow"], None))
    said = rows_where(db, [*COLUMNS, feedback.c.visible], feedback.c.episode, triples)
    waiting += [(row, place) for row in said for place in triples[row["episode"]]]
    seen: dict[int, str] = {}
    for row, place in sorted(waiting, key=lambda one: one[0]["seq"]):
        if row["visible"] is None:
            seen.setdefault(row["seq"], place[0])
        if row["counts"]:
            count_in(deltas, row, [place])
    if seen:
        start = take_numbers(db, feedback.name, len(seen))
        rows = [{"of": seq, "to": task, "now": start + place} for place, (seq, task) in enumerate(seen.items())]
        db.execute(update(feedback).where(feedback.c.seq == bindparam("of")).values(task=bindparam("to"), visible=bindparam("now")), rows)
