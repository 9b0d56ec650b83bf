"""What the store says of a package in use: its answers, its copies beside the answers that users saw, and what people put right."""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import orjson
from sqlalchemy import select

from pp_assets.evaluation.outputs import OutputReader, right
from pp_assets.evaluation.scoring import Scoring
from pp_assets.flywheel.state import Answers, Pairs
from pp_assets.task.spec import Task
from pp_resources.store.opened import Store
from pp_resources.store.prepared import rows_where
from pp_resources.store.read_feedback import Said, feedback_since
from pp_resources.store.schema import inferences

MOST = 5000  # rows of a window, the newest ones: what happens now must be seen, and a busy day has a million
Row = Mapping[str, Any]
_COLUMNS = [inferences.c[name] for name in ("id", "at", "input", "output", "valid", "error", "latency_ms", "tags", "decision", "chain")]


def copies(store: Store, task: str, role: str, package: str, since: int, until: int) -> list[Row]:
    """The copies that a package on trial has answered, oldest first."""
    c = inferences.c
    where = (c.task == task) & (c.variant == role) & (c.at >= since) & (c.at < until) & (c.shadow == 1)
    return [row for row in _read(store, where) if _package(row) == package]


def beside(store: Store, task: str, copied: Sequence[Row], package: str, since: int, until: int) -> dict[str, Row]:
    """What a package says to what copies were made of, by the id of the answer that users saw: that answer, or where another variant gave
    it, the package's own copy."""
    wanted = {_of(row) for row in copied}
    with store.reading() as db:
        seen = rows_where(db, _COLUMNS, inferences.c.id, wanted)
    found = {row["id"]: row for row in seen if _package(row) == package}
    if missing := wanted - found.keys():
        c = inferences.c
        others = _read(store, (c.task == task) & (c.at >= since) & (c.at < until) & (c.shadow == 1))
        found |= {_of(row): row for row in others if _of(row) in missing and _package(row) == package}
    return found


def pairs(
    task: Task, copied: Sequence[Row], live: Mapping[str, Row], slower: float, said: Mapping[str, str], learnt: frozenset[str]
) -> Pairs:
    """Copies beside what the package in use says to the same (`beside`). `said` are demonstrations by input, `learnt` inputs that models
    have learnt from."""
    both = [(row, original) for row in copied if (original := live.get(_of(row)))]
    timed = [(a["latency_ms"], b["latency_ms"]) for a, b in both if not (a["error"] or b["error"]) and a["latency_ms"] and b["latency_ms"]]
    reader, seen = OutputReader(task.output_schema, Scoring.of(task.spec).compare), set[str]()
    agree: list[tuple[bool, bool]] = []
    for copy, original in both:
        text = str(copy["input"])
        if text in said and text not in learnt and text not in seen:
            seen.add(text)
            agree.append((_same(reader, copy["output"], said[text]), _same(reader, original["output"], said[text])))
    return Pairs(
        n=len(both),
        only_shadow_bad=sum(is_bad(a) and not is_bad(b) for a, b in both),
        only_live_bad=sum(is_bad(b) and not is_bad(a) for a, b in both),
        slower=sum(a > slower * b for a, b in timed),
        timed=len(timed),
        demonstrated=len(agree),
        only_shadow_right=sum(a and not b for a, b in agree),
        only_live_right=sum(b and not a for a, b in agree),
        live_ms=median(b for _, b in timed) if timed else None,
        shadow_ms=median(a for a, _ in timed) if timed else None,
    )


def answers(store: Store, task: str, package: str, since: int, until: int) -> list[Row]:
    """What users saw of a package, or should have seen where it failed, oldest first."""
    c = inferences.c
    where = (c.task == task) & (c.at >= since) & (c.at < until) & (c.shadow == 0)
    return [row for row in _read(store, where) if package in (_package(row), *_failed(row))]


def counted(rows: Sequence[Row], package: str, slow_ms: float | None = None) -> Answers:
    """`bad`: an answer that breaks the schema, an error, or one that another variant had to give."""
    timed = [row["latency_ms"] for row in rows if row["latency_ms"] and not row["error"]] if slow_ms is not None else []
    bad = sum(is_bad(row) or package in _failed(row) for row in rows)
    return Answers(n=len(rows), bad=bad, timed=len(timed), slow=sum(one > slow_ms for one in timed) if slow_ms is not None else 0)


def median_ms(rows: Sequence[Row]) -> float | None:
    """The median time of the answers that came."""
    timed = [row["latency_ms"] for row in rows if row["latency_ms"] and not row["error"]]
    return median(timed) if timed else None


def demonstrations(store: Store, task: str) -> list[Said]:
    """Those in force, in the order in which they became visible; none where nothing was ever said. Raises StoreUnavailable."""
    return feedback_since(store, task, kind="demonstration", in_force=True) if store.exists else []


def said_since(found: Sequence[Said], since: int) -> dict[str, str]:
    """By input the last demonstration, for inputs that nobody had spoken of before."""
    known = {one.input for one in found if one.at < since}
    return {one.input: one.output for one in found if one.input is not None and one.output is not None and one.input not in known}


def is_bad(row: Row) -> bool:
    """No answer, or one that breaks the schema."""
    return bool(row["error"]) or not row["valid"]


def corrected(rows: Sequence[Row], said: Mapping[str, str], task: Task) -> list[bool]:
    """Of each answer whether a demonstration says otherwise."""
    reader = OutputReader(task.output_schema, Scoring.of(task.spec).compare)
    return [row["input"] in said and not _same(reader, row["output"], said[row["input"]]) for row in rows]


def _same(reader: OutputReader, output: str | None, demonstration: str) -> bool:
    return right(reader.read(output or ""), reader.read(demonstration))


def _read(store: Store, where: Any) -> list[Row]:
    if not store.exists:
        return []
    with store.reading() as db:
        found = db.execute(select(*_COLUMNS).where(where).order_by(inferences.c.at.desc()).limit(MOST)).mappings().all()
    return found[::-1]  # type: ignore[return-value]


def _package(row: Row) -> str | None:
    found = orjson.loads(row["decision"]).get("package")
    return None if found is None else str(found)


def _failed(row: Row) -> list[str]:
    """Packages that could not answer, so that another one had to."""
    return [str(one["package"]) for one in orjson.loads(row["chain"]) if one.get("package")]


def _of(row: Row) -> str:
    return str(orjson.loads(row["tags"]).get("shadow_of", ""))
