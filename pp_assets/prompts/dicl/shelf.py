"""The worked examples of one task in the store: read as an index, written by growth, changed by people."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pp_assets.prompts.dicl.gate import LEAK
from pp_assets.prompts.dicl.growth import WHO, Plan
from pp_assets.prompts.dicl.index import Index, Worked
from pp_assets.prompts.dicl.retriever import EMPTY, Refresher, Retriever
from pp_resources.errors import UserError, nearest
from pp_resources.store.examples import Mark, Stored, examples_mark, examples_with_reason, stored_examples
from pp_resources.store.opened import Store
from pp_resources.store.read_work import example_history, roll_back_examples
from pp_resources.store.rows import Row
from pp_resources.store.work import Example, ExampleChange

PART = 500  # examples of one transaction: other writers get their turn in between
AS_LEAK = "it was a held-out row when it was last looked at; 'pp dicl grow' lets it in when it is none any more"


class Shelf:
    """All that is known of one task's examples. Raises StoreUnavailable where the store cannot be reached."""

    def __init__(self, store: Store, task: str) -> None:
        self.store, self.task = store, task

    def all(self, state: str | None = None) -> list[Stored]:
        """Every example, by id, whatever encoder made it; nothing where there is no store yet."""
        return stored_examples(self.store, self.task, state=state) if self.store.exists else []

    def index(self, encoder: str, before: Index = EMPTY) -> Index:
        """The active examples whose vectors are of this encoder; what `before` holds of them is not read again."""
        found = [one for one in self.all("active") if one.encoder == encoder]
        there = {one.id: one for one in before.examples}
        worked = [there.get(one.id) or Worked(one.id, one.input, json.loads(one.output), one.label) for one in found]
        vectors = np.stack([one.vector for one in found]) if found else np.zeros((0, 0), np.float32)
        return Index.of(worked, vectors)

    def mark(self) -> Mark:
        """Differs where the index would."""
        return examples_mark(self.store, self.task) if self.store.exists else Mark(0, 0)

    def refresher(self, retriever: Retriever, encoder: str, seconds: float = 5.0, after: Callable[[], None] | None = None) -> Refresher:
        """What keeps a retriever at the examples of the store; call its `start`, or `refresh` where one look is enough."""
        return Refresher(retriever, self.mark, lambda: self.index(encoder, retriever.index), seconds, after)

    def write(self, plan: Plan, *more: Row) -> None:
        """Carry out a plan, in parts; stopped half-way, the next growth does the rest."""
        for start in range(0, len(plan.added), PART):
            self._add(plan.added[start : start + PART])
        for start in range(0, len(plan.changed), PART):
            self._write(plan.changed[start : start + PART])
        self._write(more)

    def history(self, id: str) -> list[dict[str, Any]]:
        """The changes of one example, oldest first."""
        return example_history(self.store, id)

    def find(self, name: str) -> Stored:
        """The example of an id, or of the only one that begins so. Raises UserError where there is none, or more than one."""
        every = self.all()
        found = [one for one in every if one.id.startswith(name)] if name else []
        if len(found) != 1:
            what = f"{name!r} is the beginning of {len(found)} ids" if found else f"there is no example {name!r}"
            raise UserError(what, where=f"examples of {self.task}", how=nearest(name, [one.id for one in every][:1000]) if every else "")
        return found[0]

    def change(self, names: Sequence[str], state: str, *, reason: str, who: str) -> list[str]:
        """Take examples out (`removed`) or put them back (`active`); the ids that changed. Growth leaves them so. Raises UserError for an
        example that is not there, and for one that was found among held-out rows, before anything is changed."""
        found = [self.find(name) for name in dict.fromkeys(names)]
        if state == "active" and (leaking := examples_with_reason(self.store, self.task, LEAK) & {one.id for one in found}):
            raise UserError(f"{sorted(leaking)[0]} may not be an example", where=f"examples of {self.task}", how=AS_LEAK)
        changed = [one.id for one in found if one.state != state]
        self._write([ExampleChange(example=id, state=state, reason=reason, who=who) for id in changed])  # type: ignore[arg-type]
        return changed

    def roll_back(self, to: int, *, reason: str, who: str) -> list[ExampleChange]:
        """Bring the examples back to how they were at a time (microseconds since 1970); the changes that were needed. What was found
        among held-out rows since then stays out."""
        leaking = examples_with_reason(self.store, self.task, LEAK)
        changes = roll_back_examples(self.store, self.task, to, reason=reason, who=who)
        again = [one for one in changes if one.state == "active" and one.example in leaking]
        self._write([ExampleChange(example=one.example, state="removed", reason=LEAK, who=WHO) for one in again])
        return [one for one in changes if one not in again]

    def _add(self, pairs: Sequence[tuple[Example, ExampleChange]]) -> None:
        results = self.store.write_many([row for pair in pairs for row in pair])
        for example, change in zip(results[::2], results[1::2], strict=True):
            if isinstance(example, Exception):
                raise example
            # An example of a person who was erased meanwhile is dropped, and its change finds none.
            if isinstance(change, Exception) and example.created:
                raise change

    def _write(self, rows: Sequence[Row]) -> None:
        for result in self.store.write_many(rows) if rows else ():
            if isinstance(result, Exception):
                raise result
