"""The feedback inbox: what people say of answers, checked against the task. What `add` returned is on disk; nothing counts twice."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from jsonschema.exceptions import best_match

from pp_assets.feedback.old_inbox import take_over
from pp_assets.task.spec import Task
from pp_resources.errors import UserError
from pp_resources.fingerprint import canonical_json, digest
from pp_resources.json_schema import canonical_output, not_verbatim, output_validator
from pp_resources.store import rows
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import iso, micros
from pp_resources.store.opened import Store, open_store
from pp_resources.store.read_feedback import Said, demonstration_heads, feedback_heads, feedback_since, inputs_spoken_of
from pp_resources.store.rows import VALUES
from pp_resources.store.rows import FeedbackKind as Kind


class Added(NamedTuple):
    """`seq` grows by one or more with every entry; `created` is False when this id was there already."""

    seq: int
    created: bool


@dataclass(frozen=True)
class Feedback:
    """One entry. `output` is canonical JSON text (demonstrations), `rating` 0 or 1 for booleans, `answer` what the model had said."""

    seq: int
    id: str
    task: str
    kind: Kind
    input_text: str
    output: str | None
    rating: float | None
    comment: str | None
    source: str
    at: str
    answer: str | None = None


class Inbox:
    """Feedback of all tasks, checked against their schemas on its way into the store of an installation (`url` as in PP_STORE_URL).

    Processes may write at the same time. An inbox file of before there was a store is taken over when it is found, and kept aside.
    """

    def __init__(self, home: Path, url: str | None = None) -> None:
        self.home = home
        self._store = open_store(home, url)

    def add(
        self,
        task: Task,
        input_text: str,
        *,
        output: Any = None,
        rating: bool | float | None = None,
        comment: str | None = None,
        answer: Any = None,
        source: str = "cli",
        id: str | None = None,
    ) -> Added:
        """Append one entry; by kind: a corrected `output` (demonstration), a `rating` (boolean or float), else a `comment`. `answer` is
        what the model had said, an object or the text as it came.

        `id` defaults to a digest of the content, so that sending the same feedback again changes nothing. Raises UserError when there is
        nothing to store, when the output breaks the task's schema, or when the id is taken by other content.
        """
        where = f"feedback for {task.name}"
        if not input_text.strip():
            raise UserError("the input is empty", where=where, how="give the text that the feedback is about")
        if len(input_text) > task.spec.limits.max_input_chars:
            raise UserError(f"the input has {len(input_text)} characters", where=where, how=f"at most {task.spec.limits.max_input_chars}")
        kind = _kind(output, rating, comment, where)
        text = canonical_json(checked_output(task, input_text, output, where)) if kind == "demonstration" else None
        value = None if rating is None else float(rating)
        said = answer if answer is None or isinstance(answer, str) else canonical_json(answer)
        name = id or digest([input_text, text, value, comment, *([] if said is None else [said])])[:16]
        row = _stored(task.name, name, kind, input_text, text, value, comment, said, source=source)
        try:
            ack = self.store.write(row)
        except StoreUnavailable:
            raise
        except UserError as error:
            raise UserError(f"id {name!r} is taken by other feedback", where=where, how="leave the id out or give a new one") from error
        return Added(int(ack.seq or 0), ack.created)

    @property
    def store(self) -> Store:
        """The store, with whatever an old inbox held in it. Raises StoreUnavailable for an old inbox that cannot be read."""
        if (old := self.home / "feedback" / "inbox.db").exists():
            take_over(old, self._store, _old_row)
        return self._store

    def entries(self, task: str, after: int = 0) -> list[Feedback]:
        """Entries of one task in order, those after a sequence number: what people said of inputs and of the gateway's answers to them."""
        return [_entry(one) for one in feedback_since(self.store, task, after) if one.input is not None] if self.store.exists else []

    def demonstrations(self, task: str) -> list[Feedback]:
        """The demonstrations in force, by sequence: a later one for the same input replaces the earlier one."""
        if not self.store.exists:
            return []
        found = feedback_since(self.store, task, kind="demonstration", in_force=True)
        latest = {entry.input_text: entry for entry in map(_entry, found)}
        return sorted(latest.values(), key=lambda entry: entry.seq)

    def heads(self, *, demonstrations: bool = True) -> dict[str, int]:
        """Sequence number of the last demonstration (or entry of any kind) of each task that has one. Raises StoreUnavailable when it
        cannot be read."""
        if not self.store.exists:
            return {}
        return demonstration_heads(self.store) if demonstrations else feedback_heads(self.store)

    def counts(self) -> dict[str, int]:
        """How many different inputs each task has met. Raises StoreUnavailable when it cannot be read."""
        return inputs_spoken_of(self.store) if self.store.exists else {}


def _stored(
    task: str,
    name: str,
    kind: Kind,
    input_text: str,
    output: str | None,
    value: float | None,
    comment: str | None,
    answer: str | None,
    **more: Any,
) -> rows.Feedback:
    """An entry as a row of the store; its id is the key, which is unique within the task."""
    metric = "rating" if kind in VALUES else ""
    return rows.Feedback(
        kind=kind,
        metric=metric,
        task=task,
        input=input_text,
        output=output,
        value=value,
        comment=comment,
        answer=answer,
        key=f"{task}/{name}",
        **more,
    )


def _old_row(entry: Mapping[str, Any]) -> rows.Feedback:
    names = ("task", "id", "kind", "input_text", "output", "rating", "comment", "answer")
    return _stored(*(entry[name] for name in names), source=entry["source"], at=micros(datetime.fromisoformat(entry["at"])))


def _entry(one: Said) -> Feedback:
    name = (one.key or one.id).removeprefix(f"{one.task}/")
    at = iso(one.at)
    assert one.input is not None
    return Feedback(one.seq, name, one.task, one.kind, one.input, one.output, one.value, one.comment, one.source, at, one.answer)


def as_rows(demonstrations: list[Feedback]) -> list[dict[str, Any]]:
    """Demonstrations as data lines for `build_dataset(extra_rows=)`."""
    return [
        {
            "input_text": entry.input_text,
            "output_json": json.loads(entry.output or "null"),
            "meta": {"feedback": entry.id, "source": entry.source},
        }
        for entry in demonstrations
    ]


def checked_output(task: Task, input_text: str, output: Any, where: str) -> Any:
    """The canonical output, or a UserError that names the place where it breaks the task's schema."""
    made = canonical_output(task.output_schema, output)
    error = best_match(output_validator(task.output_schema).iter_errors(made))
    if error is not None:
        raise UserError(f"{error.json_path}: {error.message[:300]}", where=f"{where}: output", how="correct the output; nothing was stored")
    for path, value in not_verbatim(task.output_schema, made, input_text):
        raise UserError(f"{path}: {value[:80]!r} does not occur in the input", where=f"{where}: output", how="copy it letter for letter")
    return made


def _kind(output: Any, rating: bool | float | None, comment: str | None, where: str) -> Kind:
    if output is not None:
        return "demonstration"
    if rating is not None:
        return "boolean" if isinstance(rating, bool) else "float"
    if comment:
        return "comment"
    raise UserError("nothing to store", where=where, how="give an output, a rating or a comment")
