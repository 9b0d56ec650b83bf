"""A gateway whose queue holds items of a task with every kind of field; its one variant is remote, so nothing has to be trained."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gateway_place import Place

from pp_resources.store.opened import Store, open_store
from pp_resources.store.rows import Inference
from pp_resources.store.work import QueueItem

SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["category", "urgent", "lines", "customer"],
    "$defs": {
        "line": {
            "type": "object",
            "required": ["article", "count"],
            "additionalProperties": False,
            "properties": {"article": {"type": "string"}, "count": {"type": "integer", "minimum": 1}},
        }
    },
    "properties": {
        "category": {"enum": ["delivery", "refund", "complaint", "other"], "description": "What the message is about."},
        "urgent": {"type": "boolean"},
        "amount": {"type": ["number", "null"], "description": "In euros."},
        "order": {"type": ["string", "null"], "x-verbatim": True},
        "channels": {"type": "array", "items": {"enum": ["phone", "mail", "chat"]}},
        "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}},
        "customer": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {"name": {"type": "string"}, "since": {"type": "integer"}, "note": {"type": "string"}},
        },
        "extra": {"type": "object"},
    },
}
TEXT = (
    "Hello,\nI ordered two lamps and a chair last Monday (order A-1043) and only the chair has come. Nobody answers the phone. "
    "If the lamps are not here by Friday I want my 89.90 back.\n\nAnna Berg"
)
SAID = {
    "category": "delivery",
    "urgent": False,
    "amount": 89.9,
    "order": "A-1043",
    "channels": ["phone"],
    "lines": [{"article": "lamp", "count": 2}, {"article": "chair", "count": 1}],
    "customer": {"name": "Anna Berg"},
    "extra": {"weekday": "Friday"},
}
FIELDS = {"category": 0.41, "urgent": 0.55, "amount": 0.97, "order": 0.99, "customer.name": 0.93}


def queue_place(root: Path, gateway: Any = None, **handoff: Any) -> Place:
    """An installation that serves the task "toy" and whose queue is empty."""
    made = Place(root)
    made.settings.tasks.mkdir(parents=True)
    remote = {"kind": "remote", "url": "http://127.0.0.1:9/v1", "model": "none"}
    serving = {"variants": {"remote": remote}, "handoff": {"confidence": 0.6, **handoff}}
    made.write(serving, gateway, io_schema={"output": SCHEMA}, gates=[], limits={"max_input_chars": 2000})
    return made


def store_of(place: Place) -> Store:
    return open_store(place.settings.home)


def put(store: Store, number: int, output: str, *, text: str = TEXT, reason: str = "confidence", **more: Any) -> str:
    """Queue one answer."""
    row = Inference(id=f"i{number}", task="toy", variant="remote", input=text, output=output, confidence=0.41, **more)
    detail = {"threshold": 0.6, "fields": FIELDS}
    item = QueueItem(id=row.id, inference=row.id, task="toy", reason=reason, detail=detail, subject=row.subject)
    store.write_together([row, item])
    return row.id


def texts(count: int) -> Sequence[str]:
    return [f"Message {n}: where is order A-{1000 + n}? It should have come on Tuesday." for n in range(count)]
