"""The queue's routes in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from pp_gateway.serve.openapi_parts import (
    FLAG,
    NUMBER,
    STREAM,
    TEXT,
    WHOLE,
    Schema,
    by_name,
    content,
    event,
    get,
    listed,
    maybe,
    object_,
    path,
    post,
    query,
    ref,
)
from pp_gateway.serve.requests import AnswerRequest, NextRequest, Working
from pp_resources.store.read_queue import STATES

MODELS: list[type[BaseModel]] = [Working, NextRequest, AnswerRequest]
STATE: Schema = {"enum": list(STATES)}
TASK = query("task", TEXT, "of this task alone; all of them by default")
LIST = (
    TASK,
    query("state", STATE, "open by default: what anybody may take"),
    query("limit", {"type": "integer", "minimum": 1, "maximum": 500}, "so many at most, 50 by default"),
)
CHANGES = {"claim": "Take an item, or keep it longer", "release": "Give it back", "skip": "It needs no answer", "undo": "Take an end back"}


def schemas() -> dict[str, Any]:
    """What is told of the queue. Times are text (ISO 8601, UTC)."""
    row: dict[str, Schema] = {"id": TEXT, "task": TEXT, "reason": TEXT, "state": STATE, "by": maybe(TEXT), "at": TEXT, "changed": TEXT}
    row |= {"until": maybe(TEXT), "confidence": maybe(NUMBER), "agrees": maybe(FLAG), "input": TEXT}
    whole = row | {"inference": TEXT, "variant": TEXT, "episode": maybe(TEXT), "valid": maybe(FLAG), "detail": {"type": "object"}}
    whole |= {"raw": maybe(TEXT), "output": {}, "answer": {}, "change": maybe(TEXT), "mine": FLAG}
    minutes = {"claim_minutes": NUMBER, "undo_minutes": NUMBER}
    problem = object_(path=listed({"type": ["string", "integer"]}), message=TEXT)
    day = object_(day={"type": "string", "format": "date"}, answered=WHOLE, dismissed=WHOLE)
    agreement = object_(n=WHOLE, rate=maybe(NUMBER), low=maybe(NUMBER), high=maybe(NUMBER))
    agreement["properties"]["why"] = TEXT | {"description": "there is no rate"}
    counts = {"open": WHOLE, "claimed": WHOLE}
    people = {"answered_today": WHOLE, "per_day": listed(day), "agreement": ref("Agreement"), "audited": ref("Agreement")}
    return {
        "QueueRow": object_(**row),
        "QueueItem": object_(**whole),
        "QueueShown": object_(item=ref("QueueItem"), schema=maybe({"type": "object"}), **minutes),
        "QueueTaken": {"anyOf": [ref("QueueShown"), object_(item={"type": "null"})]},
        "QueueWaiting": by_name(object_(**counts, oldest=TEXT)) | {"description": "by task, where something waits"},
        "QueueList": object_(tasks=listed(TEXT), items=listed(ref("QueueRow")), waiting=ref("QueueWaiting")),
        "QueueMeasures": object_(**counts, oldest_s=maybe(NUMBER), **people, by_reason=by_name(ref("Agreement"))),
        "Agreement": agreement,
        "WrongAnswer": object_(error={"type": "object"}, fields=listed(problem)),
    }


def paths() -> dict[str, Any]:
    """All of them."""
    one = "/api/queue/items/{id}"
    events = get("What waits by task, whenever it changes", event(ref("QueueWaiting")), kind=STREAM)
    answered = _on_item(post("AnswerRequest", ref("QueueShown"), "The right output: a demonstration", more=("409", "411")))
    answered["responses"]["422"] = {"description": "an output that breaks the task's schema", "content": content(ref("WrongAnswer"))}
    return {
        "/api/queue": {"get": get("Items of one state, and what waits", ref("QueueList"), parameters=LIST)},
        "/api/queue/events": {"get": events},
        "/api/queue/measures": {
            "get": get("What was answered, and how often people agree", ref("QueueMeasures"), parameters=(TASK,)),
        },
        "/api/queue/next": {
            "post": post("NextRequest", ref("QueueTaken"), "Take the next item; null where nothing waits", more=("409", "411"))
        },
        one: {"get": get("One item", ref("QueueShown"), parameters=(path("id"),))},
        f"{one}/answer": {"post": answered},
        **{
            f"{one}/{name}": {"post": _on_item(post("Working", ref("QueueShown"), text, more=("409", "411")))}
            for name, text in CHANGES.items()
        },
    }


def _on_item(operation: dict[str, Any]) -> dict[str, Any]:
    return operation | {"parameters": [path("id")]}
