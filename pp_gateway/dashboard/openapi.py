"""The dashboard's routes in the OpenAPI document."""

from typing import Any

from pp_gateway.dashboard.overview import RANGES
from pp_gateway.serve.openapi_parts import (
    FLAG,
    NUMBER,
    STREAM,
    TEXT,
    WHOLE,
    Schema,
    by_name,
    event,
    get,
    listed,
    maybe,
    object_,
    query,
    ref,
)

ANY: Schema = {"type": "object"}
FIGURE = ref("Figure")
ASKED = (
    query("task", TEXT, "the first one that is served by default"),
    query("range", {"enum": list(RANGES)}, "24h by default"),
    query("metric", TEXT, "by default the one that the task declares, else the one with the most values"),
)


def schemas() -> dict[str, Any]:
    """What is told on the dashboard. Times are seconds since 1970, of artifacts text (ISO 8601)."""
    figure = object_(value=maybe(NUMBER), low=maybe(NUMBER), high=maybe(NUMBER), n=WHOLE, interval=maybe(TEXT), why=maybe(TEXT))
    stale = maybe(object_(since=NUMBER, why=TEXT)) | {"description": "since when the figures are old, and why"}
    served = {"tasks": listed(TEXT), "served": listed(TEXT), "ranges": listed(TEXT), "range": TEXT, "task": TEXT, "empty": FLAG}
    overview = object_(**served, stale=stale, log=ref("DashboardLog"), skipped=listed(TEXT), reload=maybe(TEXT))
    overview["properties"] |= {"complaints": maybe(_complaints()), "drift": maybe(_drift())} | _figures() | _decisions()
    overview["description"] = "Without a task only what is served, of one that is `empty` no figures and no decisions."
    moved = {"overview": ref("Overview"), "now": ref("DashboardNow"), "log": ref("DashboardLog"), "stale": stale}
    return {
        "Figure": figure | {"description": "A value with its 95 % interval and its n, or why there is none."},
        "Overview": overview,
        "DashboardNow": _now(),
        "DashboardLog": _log(),
        "DashboardEvent": {
            "type": "object",
            "properties": moved,
            "description": "Every two seconds `now`, `log` and `stale`, or `overview` where anything else has changed.",
        },
    }


def paths() -> dict[str, Any]:
    """All of them."""
    return {
        "/api/overview": {"get": get("All figures of a task", ref("Overview"), parameters=ASKED)},
        "/api/live": {"get": get("The same, followed", event(ref("DashboardEvent")), kind=STREAM, parameters=ASKED)},
    }


def _now() -> Schema:
    times = {"at": NUMBER, "minutes": WHOLE, "quality_minutes": WHOLE}
    return object_(**times, sessions=WHOLE, requests=WHOLE, per_minute=NUMBER, quality=FIGURE, errors=FIGURE, p50=FIGURE, p95=FIGURE)


def _log() -> Schema:
    log = object_(mode=TEXT, rows=by_name(WHOLE), worker=WHOLE, store=maybe(FLAG))
    counts = dict.fromkeys(("waiting", "journals", "journal_bytes", "refused"), WHOLE)
    log["properties"] |= {"why": maybe(TEXT), "lag_s": NUMBER, **counts}
    return log | {"description": "How rows are kept; `store` is whether it can be reached, null where nothing is kept."}


def _figures() -> dict[str, Schema]:
    bucket = {"requests": WHOLE, "errors": FIGURE, "escalated": FIGURE, "p50": FIGURE, "p95": FIGURE}
    point = object_(start=WHOLE, **bucket)
    value = {"allOf": [FIGURE, object_(start=WHOLE)]}
    trends = object_(starts=listed(WHOLE), traffic=listed(point), metrics=by_name(listed(value)))
    variant = {"name": TEXT, "shadow": FLAG, "use": maybe(FIGURE), "quality": FIGURE, "cost": FIGURE, "requests": WHOLE}
    variant |= {"errors": FIGURE, "invalid": FIGURE, "p50": FIGURE, "p95": FIGURE}
    queue = object_(counts=by_name(WHOLE), items=listed(object_(id=TEXT, reason=TEXT, at=NUMBER)))
    return {
        "metric": TEXT,
        "metrics": listed(object_(name=TEXT, n=WHOLE)),
        "since": WHOLE,
        "width": WHOLE | {"description": "of a bucket (seconds)"},
        "now": ref("DashboardNow"),
        "whole": object_(**bucket, metrics=by_name(FIGURE)),
        "trends": trends,
        "variants": listed(object_(**variant)),
        "queue": queue,
    }


def _decisions() -> dict[str, Schema]:
    some = maybe(by_name(NUMBER))
    latest = {"at": NUMBER, "basis": maybe(TEXT), "winner": maybe(TEXT), "reason": maybe(TEXT), "variants": maybe(ANY), "shadow": some}
    weights = {"points": listed(object_(at=NUMBER, weights=some, basis=maybe(TEXT)))}
    turn = object_(at=NUMBER, stage=maybe(TEXT), candidate=maybe(TEXT), reason=maybe(TEXT))
    return {
        "weights": object_(**weights, latest=maybe(object_(**latest, warnings=maybe(listed(TEXT))))),
        "events": listed(object_(kind={"enum": ["rollback", "promotion"]}, at=NUMBER)),
        "next_step": maybe(object_(at=NUMBER)),
        "flywheel": listed(turn),
    }


def _complaints() -> Schema:
    topic = object_(topic=TEXT, size=WHOLE, weight=NUMBER, dimensions=by_name(WHOLE), last=TEXT, examples=listed(ANY))
    return object_(made=TEXT, entries=WHOLE, topics=listed(topic), more=WHOLE)


def _drift() -> Schema:
    share = {"share": maybe(NUMBER), "low": maybe(NUMBER), "high": maybe(NUMBER), "expected": maybe(NUMBER)}
    window = object_(at=maybe(TEXT), n=WHOLE, drift=FLAG, p=maybe(NUMBER), mix_p=maybe(NUMBER), **share)
    return object_(made=TEXT, alpha=NUMBER, rows=WHOLE, windows=listed(window), drivers=listed(TEXT))
