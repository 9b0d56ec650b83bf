"""Rows for tests of the store, and a recount that knows nothing of how the store counts."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from sqlalchemy import select

from pp_resources.store.opened import Store
from pp_resources.store.rows import Feedback, Inference, Row
from pp_resources.store.schema import scores, traffic

AT = 1_790_000_000_000_000  # microseconds


def inference(number: int, **more: Any) -> Inference:
    values = {"id": f"i{number}", "at": AT + number * 40_000_000, "task": "t", "variant": "ab"[number % 2], "input": f"text {number}"}
    return Inference(**(values | {"output": "{}", "latency_ms": 1.5 * number, "cost": 0.001 * number} | more))


def naive_scores(rows: Iterable[Row]) -> dict[tuple[str, str, int, str], tuple[int, float]]:
    """(task, variant, shadow, metric): how many values count and their sum."""
    unique = {row.id: row for row in rows}
    answered = [row for row in unique.values() if isinstance(row, Inference)]
    said = [row for row in unique.values() if isinstance(row, Feedback) and row.value is not None]
    groups = defaultdict(list)
    for one in said:
        groups[one.inference, one.episode, one.task if one.input else None, one.input, one.answer, one.metric].append(one)
    found: dict[Any, list[float]] = defaultdict(list)
    for (of, episode, task, _, _, metric), members in groups.items():
        left = [one for one in members if not any(other.supersedes == one.id for other in members)]
        if not left:
            continue
        last = sorted(left, key=lambda one: (one.at, one.id))[-1]
        if of:
            to = [(one.task, one.variant, int(one.shadow)) for one in answered if one.id == of]
        elif episode:
            to = sorted({(one.task, one.variant, int(one.shadow)) for one in answered if one.episode == episode})
        else:
            to = [(task, "", 0)]
        for place in to:
            found[(*place, metric)].append(last.value or 0.0)
    return {key: (len(values), round(sum(values), 6)) for key, values in found.items()}


def kept_scores(store: Store, width: int) -> dict[tuple[str, str, int, str], tuple[int, float]]:
    """The same from the sums of one width, added up over time."""
    found: dict[Any, list[float]] = defaultdict(lambda: [0, 0])
    with store.reading() as db:
        for row in db.execute(select(scores).where(scores.c.width == width)).mappings():
            sums = found[row["task"], row["variant"], row["shadow"], row["metric"]]
            sums[0] += row["n"]
            sums[1] += row["total"]
    return {key: (int(n), round(total / 1e6, 6)) for key, (n, total) in found.items() if n}


def requests(store: Store, width: int) -> int:
    with store.reading() as db:
        return sum(db.execute(select(traffic.c.requests).where(traffic.c.width == width)).scalars())
