"""What the machinery around the variants has said of a task: decisions in the store, the latest artifacts of complaints and of drift.

What has never been made is None, and the page says how to make it.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from pp_assets.pipeline import COMPLAINTS, DRIFTS
from pp_resources.artifacts import Artifact, ArtifactStore
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store
from pp_resources.store.read_trends import decisions_between
from pp_resources.store.read_work import decisions_on

WEIGHTS, NEXT_STEP, FLYWHEEL = "weights", "next_step", "flywheel"
TOLD = ("rollback", "promotion")  # kinds of decisions that are told one by one
POINTS = 100  # of the chart of weights
EVENTS = 10
TOPICS, WINDOWS = 8, 20


def decided(store: Store, task: str, since: int) -> dict[str, Any]:
    """Weights over time and what stands behind the latest, what was rolled back or promoted, what to do next, the flywheel's last turns.
    Times in seconds since 1970."""
    weights = [_plain(row) for row in decisions_between(store, task, WEIGHTS, since=since, most=POINTS)]
    latest = weights[-1] if weights else None
    step = next(iter(decisions_on(store, task, kind=NEXT_STEP, limit=1)), None)
    return {
        "weights": {
            "points": [{key: one.get(key) for key in ("at", "weights", "basis")} for one in weights],
            "latest": latest and {key: latest.get(key) for key in ("at", "basis", "winner", "reason", "warnings", "variants", "shadow")},
        },
        "events": _events(store, task, latest),
        "next_step": step and _plain(step),
        "flywheel": _turns([_plain(row) for row in decisions_on(store, task, kind=FLYWHEEL, limit=2 * EVENTS)]),
    }


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {**row["data"], "at": row["at"] / MICRO}


def _turns(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Newest first; of the rows of one decision (made, then carried out) the first."""
    found = []
    for row, before in zip(rows, [*rows[1:], {}]):
        if row.get("reason") != before.get("reason"):
            state = row.get("state") or {}
            candidate = (state.get("candidate") or {}).get("variant")
            found.append({"at": row["at"], "stage": state.get("stage"), "candidate": candidate, "reason": row.get("reason")})
    return found[:EVENTS]


def _events(store: Store, task: str, latest: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """Roll-backs and promotions, newest first; a roll-back that has no row of its own is in the weights since."""
    rows = [(kind, row) for kind in TOLD for row in decisions_on(store, task, kind=kind, limit=EVENTS)]
    found = [{"kind": kind, **_plain(row)} for kind, row in rows]
    told = {one.get("reason") for one in found}
    for name, one in ((latest or {}).get("variants") or {}).items():
        if (latched := one.get("rolled_back")) and latched["reason"] not in told:
            found.append({"kind": "rollback", "variant": name, "at": latched["at"], "reason": latched["reason"]})
    return sorted(found, key=lambda one: -one["at"])[:EVENTS]


def complaints(home: Path, task: str) -> dict[str, Any] | None:
    """The heaviest topics of what people complain of, as they were last grouped."""
    made = ArtifactStore(home).current(COMPLAINTS, task)
    if made is None:
        return None
    topics = [one for one in _content(made, "topics.json") if one["rating"] == "negative"]
    keys = ("topic", "size", "weight", "dimensions", "last", "examples")
    shown = [{key: one[key] for key in keys} | {"examples": one["examples"][:1]} for one in topics[:TOPICS]]
    return {"made": made.created_at, "entries": made.metadata["entries"], "topics": shown, "more": max(0, len(topics) - TOPICS)}


def drift(home: Path, task: str) -> dict[str, Any] | None:
    """The last windows of inputs that were tested."""
    made = ArtifactStore(home).current(DRIFTS, task)
    if made is None:
        return None
    found = _content(made, "drift.json")
    windows = [
        {"at": one["to"], "n": one["n"], "drift": one["drift"], "p": one["novel"]["p_holm"], "mix_p": one["mix"]["p_holm"]}
        | {"share": one["novel"]["share"], "low": one["novel"]["low"], "high": one["novel"]["high"], "expected": one["novel"]["expected"]}
        for one in found["windows"][-WINDOWS:]
    ]
    drivers = [one["input_text"] for one in found["windows"][-1]["drivers"][:3]] if windows else []
    return {"made": made.created_at, "alpha": found["alpha"], "rows": found["rows"], "windows": windows, "drivers": drivers}


def _content(made: Artifact, name: str) -> Any:
    return _read(made.file(name))


@lru_cache(maxsize=64)
def _read(file: Path) -> Any:
    # A folder is written once, so its path says what is in it.
    return json.loads(file.read_text("utf-8"))
