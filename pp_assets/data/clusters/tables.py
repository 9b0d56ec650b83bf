"""What there is to know of each topic: size, trend, score, the members that show it best and those at its edge; and the outliers."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from pp_assets.data.clusters.model import OUTLIER, Clusters

EXAMPLES = 3
OUTLIERS_SHOWN = 20
BUCKETS = 12  # at most so many on a trend
LONGEST = 300  # characters of an example
BLOCK = 8192


def topic_table(
    found: Clusters, texts: Sequence[str], vectors: np.ndarray, *, times: Sequence[float | None] | None = None, quality: Any = None
) -> list[dict[str, Any]]:
    """One entry a topic, largest first, outliers last: topic (id), name, size, share, terms, radius, `examples` (most typical first) and
    `borderline` members (least nearer to their own centroid than to another), `trend` where times are given, `placed` (how many held-back
    members the name alone places, of how many) where the quality of names is.

    `times`: seconds since 1970 by row, None where unknown.
    """
    margins = _margins(found, vectors)
    order = sorted([*found.ids.tolist(), OUTLIER], key=lambda t: (t == OUTLIER, -int((found.labels == t).sum()), t))
    buckets = time_buckets(times) if times is not None else None
    table = []
    for topic in order:
        rows = np.flatnonzero(found.labels == topic)
        if not len(rows):
            continue
        entry = {"topic": int(topic), "name": found.name(topic), "size": len(rows), "share": round(len(rows) / len(found.labels), 4)}
        entry["terms"] = list(found.names.get(topic, {}).get("terms", []))
        best = rows[np.argsort(-found.similarity[rows], kind="stable")]
        if topic == OUTLIER:
            entry["examples"] = [_member(found, texts, i) for i in best[::-1][:OUTLIERS_SHOWN].tolist()]  # the farthest first
        else:
            edge = rows[np.argsort(margins[rows], kind="stable")][:EXAMPLES].tolist()
            entry["radius"] = round(float(found.radii[int(np.searchsorted(found.ids, topic))]), 4)
            entry["examples"] = [_member(found, texts, i) for i in best[:EXAMPLES].tolist()]
            entry["borderline"] = [_member(found, texts, i) for i in edge]
            if quality and topic in quality["topics"]:
                entry["placed"] = list(quality["topics"][topic])
        if buckets is not None:
            entry["trend"] = _trend(buckets, rows)
        table.append(entry)
    return table


def scores_by_topic(topics: np.ndarray, hits: np.ndarray, groups: Sequence[str]) -> dict[int, dict[str, Any]]:
    """The share of right answers in each topic, with its interval (exact with mid-p; related items count for what they are worth): {"n",
    "value", "low", "high"} by id."""
    from pp_assets.evaluation.stats.groups import Clusters as Groups
    from pp_assets.evaluation.stats.intervals import proportion_interval

    found = {}
    for topic in np.unique(topics).tolist():
        rows = np.flatnonzero(topics == topic)
        interval = proportion_interval(hits[rows].astype(float), Groups.of([groups[i] for i in rows.tolist()]))
        found[int(topic)] = {"n": len(rows), "value": float(hits[rows].mean()), "low": interval.low, "high": interval.high}
    return found


def seconds(value: Any) -> float | None:
    """A point in time, a number or an ISO 8601 text, as seconds since 1970; None where it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    try:
        moment = datetime.fromisoformat(str(value))
    except ValueError:
        return None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def time_buckets(times: Sequence[float | None]) -> tuple[np.ndarray, list[str]] | None:
    """(bucket of each row, -1 where its time is unknown; the start of each bucket as text): the narrowest of hour, day, week, month,
    quarter and year that gives at most twelve, else twelve equal parts. None where fewer than two times differ."""
    known = np.array([np.nan if t is None else t for t in times], dtype=float)
    inside = np.flatnonzero(~np.isnan(known))
    if len(inside) == 0 or known[inside].min() == known[inside].max():
        return None
    first, last = float(known[inside].min()), float(known[inside].max())
    edges = next((e for step in ("hour", "day", "week", "month", "quarter", "year") if (e := _edges(first, last, step))), None)
    starts = edges or np.linspace(first, last, BUCKETS + 1)[:-1].tolist()
    place = np.full(len(known), -1)
    place[inside] = np.searchsorted(starts, known[inside], side="right") - 1
    hours = starts[1] - starts[0] < 86400 if len(starts) > 1 else False
    return place, [datetime.fromtimestamp(s, UTC).strftime("%Y-%m-%d %H:%M" if hours else "%Y-%m-%d") for s in starts]


def _edges(first: float, last: float, step: str) -> list[float] | None:
    """Starts of the calendar's units that cover first..last, None where they are more than BUCKETS."""
    moment = datetime.fromtimestamp(first, UTC).replace(minute=0, second=0, microsecond=0)
    if step != "hour":
        moment = moment.replace(hour=0)
    if step == "week":
        moment -= timedelta(days=moment.weekday())
    months = {"month": 1, "quarter": 3, "year": 12}.get(step)
    if months:
        moment = moment.replace(day=1, month=(moment.month - 1) // months * months + 1)
    starts: list[float] = []
    while moment.timestamp() <= last:
        if len(starts) == BUCKETS:
            return None
        starts.append(moment.timestamp())
        if months:
            count = moment.month - 1 + months
            moment = moment.replace(year=moment.year + count // 12, month=count % 12 + 1)
        else:
            moment += {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[step]
    return starts if len(starts) > 1 else None


def _trend(buckets: tuple[np.ndarray, list[str]], rows: np.ndarray) -> list[dict[str, Any]]:
    """Rows of the topic in each bucket, and their share of all rows in it (None for an empty one)."""
    place, starts = buckets
    all_rows = np.bincount(place[place >= 0], minlength=len(starts))
    own = np.bincount(place[rows][place[rows] >= 0], minlength=len(starts))
    shares = [round(float(o / a), 4) if a else None for o, a in zip(own, all_rows)]
    return [{"from": start, "rows": int(n), "share": share} for start, n, share in zip(starts, own.tolist(), shares)]


def _margins(found: Clusters, vectors: np.ndarray) -> np.ndarray:
    """How much nearer each row is to its own centroid than to the next (cosine)."""
    margins = np.full(len(found.labels), np.inf, dtype=np.float32)
    for start in range(0, len(margins), BLOCK):
        rows = np.arange(start, min(len(margins), start + BLOCK))
        rows = rows[found.labels[rows] >= 0]
        if len(rows) and len(found.ids) > 1:
            similar = np.asarray(vectors[rows], dtype=np.float32) @ found.centroids.T
            mine = np.searchsorted(found.ids, found.labels[rows])
            own = similar[np.arange(len(rows)), mine].copy()
            similar[np.arange(len(rows)), mine] = -np.inf
            margins[rows] = own - similar.max(1)
    return margins


def _member(found: Clusters, texts: Sequence[str], row: int) -> dict[str, Any]:
    return {"item_id": found.item_ids[row], "input_text": texts[row][:LONGEST]}
