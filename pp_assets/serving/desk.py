"""What people do with the answers that were handed to them: take one, answer it, leave it, take it back. Every answer is a demonstration.

Belongs here: the rules of that work, the same for the command line and for HTTP. Does not: which answers come (`doubt`), pages, keys.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from pp_assets.serving.spec import Handoff
from pp_assets.task.spec import TaskSpec
from pp_resources.errors import UserError
from pp_resources.fingerprint import canonical_json
from pp_resources.json_schema import canonical_output, not_verbatim, output_validator
from pp_resources.store.ids import MICRO, iso, now, uuid7
from pp_resources.store.opened import Store
from pp_resources.store.queue_work import claim_next, take_back
from pp_resources.store.read_queue import Work, work
from pp_resources.store.rows import Feedback
from pp_resources.store.work import QueueChange

SOURCE = "queue"
MOST_PROBLEMS = 50
Mask = Callable[[Feedback], Feedback]


class Problem(NamedTuple):
    """What is wrong with one field; `path` are the keys and places that lead to it."""

    path: list[str | int]
    message: str


class WrongAnswer(UserError):
    """An answer that breaks the task's schema, field by field."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        first = problems[0]
        where = ".".join(map(str, first.path)) or "answer"
        super().__init__(first.message, where=where, how="correct it; nothing was stored")
        self.problems = list(problems)


class Taken(UserError):
    """The item is not one's own to change: somebody else holds it, or it has ended."""


class Missing(UserError):
    """There is no such item."""


@dataclass(frozen=True)
class Desk:
    """The queue of one store. `by` is whoever works: a name that nobody else uses."""

    store: Store

    def look(self, id: str) -> Work:
        """One item. Raises Missing."""
        found = work(self.store, id) if "\0" not in id else None  # which not every store can hold, and none has
        if found is None:
            raise Missing(f"there is no item {id!r}", where="queue", how="'pp queue list TASK' shows those that wait")
        return found

    def next(self, rules: Mapping[str, Handoff], by: str, passed: Sequence[str] = ()) -> Work | None:
        """Take the next item of tasks with their rules, None where nothing waits."""
        if not self.store.exists:
            return None
        return claim_next(self.store, {task: 60 * one.claim_minutes for task, one in rules.items()}, by=by, passed=passed)

    def claim(self, id: str, by: str, rules: Handoff) -> Work:
        """Take this item, or keep it longer. Raises Taken."""
        at = now()
        return self._change(QueueChange(item=id, state="claimed", by=by, until=at + int(rules.claim_minutes * 60 * MICRO), at=at))

    def release(self, id: str, by: str) -> Work:
        """Give an item back. Raises Taken."""
        return self._change(QueueChange(item=id, state="open", by=by))

    def skip(self, id: str, by: str) -> Work:
        """Say that an item needs no answer. Raises Taken."""
        return self._change(QueueChange(item=id, state="dismissed", by=by))

    def answer(self, id: str, by: str, spec: TaskSpec, output: Any, *, mask: Mask = lambda row: row, change: str | None = None) -> Work:
        """The right output for an item: it ends the item and is a demonstration of the same id, both or neither. The same `change` id
        again is the same answer. Raises WrongAnswer, Taken."""
        item = self.look(id)
        text = canonical_json(checked(spec, item.input, output))
        said = Feedback(kind="demonstration", inference=item.inference, output=text, source=f"{SOURCE}:{by}", id=change or uuid7())
        said = mask(said)
        agrees = said.output == _canonical(spec, item.output)
        end = QueueChange(id=said.id, item=id, state="answered", by=by, answer=said.output, agrees=agrees, at=said.at)
        try:
            self.store.write_together([end, said])
        except UserError as error:
            raise self._told(error, id) from None
        return self.look(id)

    def undo(self, id: str, by: str, rules: Handoff) -> Work:
        """Take back what one has answered or skipped: the item is one's own again, and the demonstration is gone. Raises Taken, also where
        that is too long ago."""
        item, at = self.look(id), now()
        if item.state not in ("answered", "dismissed") or item.by != by or item.change is None:
            raise Taken("nothing of yours to take back", where=f"queue item {id}", how="whoever ended an item may take that back")
        if at - item.changed > rules.undo_minutes * 60 * MICRO:
            how = "send a demonstration for its inference: the later one counts"
            raise Taken(f"ended more than {rules.undo_minutes:g} minutes ago", where=f"queue item {id}", how=how)
        until = at + int(rules.claim_minutes * 60 * MICRO)
        change = QueueChange(item=id, state="claimed", by=by, until=until, undoes=item.change, at=at)
        try:
            take_back(self.store, change)
        except UserError as error:
            raise self._told(error, id) from None
        return self.look(id)

    def _change(self, change: QueueChange) -> Work:
        self.look(change.item)
        try:
            self.store.write(change)
        except UserError as error:
            raise self._told(error, change.item) from None
        return self.look(change.item)

    def _told(self, error: UserError, id: str) -> UserError:
        """A refusal of the store, with how long the other one's claim holds. That the store is away stays what it is."""
        if type(error) is not UserError:
            return error
        item = work(self.store, id)
        until = f" until {iso(item.until)[11:16]} UTC" if item and item.state == "claimed" and item.until else ""
        return Taken(f"{error.what}{until}", where=error.where, how=error.how)


def checked(spec: TaskSpec, text: str, output: Any) -> Any:
    """The canonical output. Raises WrongAnswer with all that is wrong."""
    made = canonical_output(spec.output_schema, output)
    found = [Problem(*_place(error)) for error in output_validator(spec.output_schema).iter_errors(made)]
    found += [
        Problem(_keys(path), "does not occur in the input; copy it letter for letter")
        for path, _ in not_verbatim(spec.output_schema, made, text)
    ]
    if found:
        raise WrongAnswer(found[:MOST_PROBLEMS])
    return made


def as_plain(item: Work, at: int | None = None) -> dict[str, Any]:
    """An item as JSON values: times as text, the model's output parsed where it is JSON (`raw` is the text as it came), `state` as it is
    now: a claim that has run out is none."""
    parsed = _parsed(item.output)
    free = item.is_free(now() if at is None else at)
    state = "open" if free else item.state
    times = {"at": iso(item.at), "changed": iso(item.changed), "until": None if item.until is None or free else iso(item.until)}
    said = {"raw": item.output, "output": parsed, "answer": _parsed(item.answer)}
    return item._asdict() | times | said | {"state": state, "by": None if state == "open" else item.by}


def _place(error: Any) -> tuple[list[str | int], str]:
    """Where an error of a validator belongs: a field that is missing is at its own place."""
    path, message = list(error.absolute_path), str(error.message)[:300]
    if error.validator == "required":
        missing = next((name for name in error.validator_value if message == f"{name!r} is a required property"), None)
        if missing is not None:
            return [*path, missing], "is missing"
    return path, message


def _keys(path: str) -> list[str | int]:
    """Keys of a path such as $.a.b[0]."""
    parts = path.removeprefix("$").replace("[", ".").replace("]", "").split(".")
    return [int(part) if part.isdigit() else part for part in parts if part]


def _canonical(spec: TaskSpec, output: str | None) -> str | None:
    parsed = _parsed(output)
    return None if parsed is None else canonical_json(canonical_output(spec.output_schema, parsed))


def _parsed(text: str | None) -> Any:
    try:
        return None if text is None else orjson.loads(text)
    except orjson.JSONDecodeError:
        return None
