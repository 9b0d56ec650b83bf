"""How the queue stands: what waits, what people answer, and how often they agree with the model."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from pp_assets.evaluation.rounding import rounded
from pp_assets.evaluation.stats.intervals import wilson
from pp_resources.store.ids import MICRO, iso, now
from pp_resources.store.opened import Store
from pp_resources.store.read_queue import AUDIT, DAY, Done, done, waiting


def measures(store: Store, task: str | None = None, *, days: int = 14) -> dict[str, Any]:
    """Of a task or of all: `open` and `claimed` items, seconds that the `oldest_s` of them waits, `per_day` (UTC, the last one is today)
    how many were answered and how many needed no answer, `agreement` of people with the model in these days by reason and in all.

    Agreement is `rate` of `n` with a 95 % interval (Wilson), None with `why` where nobody answered. That of audits, whose items chance
    chose, is the accuracy of the answers that no rule doubts; the others were chosen because they looked wrong.
    """
    at = now()
    today = at - at % DAY
    if not store.exists:
        found, ended = {}, list[Done]()
    else:
        found = {name: one for name, one in waiting(store).items() if task in (None, name)}
        ended = done(store, since=today - (days - 1) * DAY, task=task)
    oldest = min((one.oldest for one in found.values()), default=None)
    each = {today - back * DAY: {"answered": 0, "dismissed": 0} for back in reversed(range(days))}
    for row in ended:
        each[row.day]["answered"] += row.answered
        each[row.day]["dismissed"] += row.dismissed
    per_reason: dict[str, list[Done]] = defaultdict(list)
    for row in ended:
        per_reason[row.reason].append(row)
    return {
        "open": sum(one.open for one in found.values()),
        "claimed": sum(one.claimed for one in found.values()),
        "oldest_s": None if oldest is None else round((at - oldest) / MICRO, 1),
        "answered_today": each[today]["answered"],
        "per_day": [{"day": iso(day)[:10], **counts} for day, counts in each.items()],
        "agreement": agreement(ended),
        "by_reason": {reason: agreement(rows) for reason, rows in sorted(per_reason.items())},
        "audited": agreement(per_reason.get(AUDIT, ())),
    }


def agreement(rows: Sequence[Done]) -> dict[str, Any]:
    """The share of answers in which people gave what the model had given, with n and its 95 % interval."""
    n, agreed = sum(row.answered for row in rows), sum(row.agreed for row in rows)
    if not n:
        return {"n": 0, "rate": None, "low": None, "high": None, "why": "nobody has answered"}
    low, high = wilson(agreed, n)
    return dict(rounded({"n": n, "rate": agreed / n, "low": low, "high": high}))
