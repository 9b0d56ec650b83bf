"""Rows as lines of JSON, for the journal."""

from dataclasses import fields

import orjson

from pp_resources.store.rows import Feedback, Inference, Row
from pp_resources.store.work import Decision, Example, ExampleChange, Job, JobEvent, QueueChange, QueueItem

KINDS: dict[str, type[Row]] = {
    cls.kind_name: cls for cls in (Inference, Feedback, Example, ExampleChange, Job, JobEvent, QueueItem, QueueChange, Decision)
}
_NAMES = {kind: frozenset(field.name for field in fields(cls)) for kind, cls in KINDS.items()}


def to_json(row: Row) -> bytes:
    """One line without its end; bytes as hexadecimal digits."""
    return orjson.dumps([row.kind_name, row.__dict__], default=bytes.hex)


def from_json(line: bytes) -> Row:
    """The row of `to_json`. Raises ValueError or UserError for anything else."""
    kind, values = orjson.loads(line)
    cls, known = KINDS[kind], _NAMES[kind]
    if kind == "example":
        values["embedding"] = bytes.fromhex(values["embedding"])
    if values.keys() == known:  # nothing is left to be filled in, and what is there was checked when the row was made
        row = object.__new__(cls)
        row.__dict__.update(values)
        return row
    return cls(**{name: value for name, value in values.items() if name in known})
