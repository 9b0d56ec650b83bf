"""A person at the queue of one task, in a terminal: the desk with the task's rules, and an editor for answers."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pp_assets.serving.desk import Desk, Mask, as_plain
from pp_assets.serving.spec import Handoff, Serving
from pp_assets.task.spec import Task, load_task
from pp_gateway.cli.editor import edit_file
from pp_gateway.serve.app import config_file
from pp_gateway.serve.config import read_config
from pp_gateway.serve.logbook import Redactor
from pp_resources.errors import UserError
from pp_resources.settings import Settings
from pp_resources.store.opened import open_store
from pp_resources.store.read_queue import Work


@dataclass(frozen=True)
class Worker:
    """`mask` takes out of an answer what the gateway takes out of its rows."""

    desk: Desk
    task: Task
    rules: Handoff
    by: str
    mask: Mask

    @classmethod
    def of(cls, settings: Settings, name: str, by: str) -> "Worker":
        task = load_task(name, settings.tasks)
        serving, config = task.spec.serving or Serving(), read_config(config_file(settings, None))
        mask = Redactor([config.redact, serving.redact]).row
        return cls(Desk(open_store(settings.home, settings.store_url)), task, serving.handoff or Handoff(), by, mask)

    @property
    def name(self) -> str:
        return self.task.name

    def look(self, item: str) -> Work:
        """An item of this task."""
        if not self.desk.store.exists:
            raise UserError(f"there is no item {item!r}", where="queue", how="no answer was ever handed off here")
        found = self.desk.look(item)
        if found.task != self.name:
            raise UserError(f"{item!r} is an item of {found.task}", where="queue", how=f"name that task, not {self.name}")
        return found

    def next(self, passed: Sequence[str] = ()) -> Work | None:
        return self.desk.next({self.name: self.rules}, self.by, passed)

    def said(self, item: str) -> Any:
        """What the model said. Raises UserError where that is no JSON."""
        found = as_plain(self.look(item))["output"]
        if found is None:
            raise UserError("what the model said is no JSON", where=f"queue item {item}", how="give --output")
        return found

    def change(self, what: str, item: str, *given: Any) -> Work:
        """Claim, release, skip, undo or answer an item."""
        self.look(item)
        if what == "answer":
            return self.desk.answer(item, self.by, self.task.spec, given[0], mask=self.mask)
        rules = [self.rules] if what in ("claim", "undo") else []
        return getattr(self.desk, what)(item, self.by, *rules)  # type: ignore[no-any-return]

    def by_key(self, key: str, item: Work) -> Work:
        """What one key asks for."""
        if key in ("a", "e"):
            return self.change("answer", item.id, self.said(item.id) if key == "a" else self._in_editor(item))
        return self.change({"s": "skip", "g": "release"}[key], item.id)

    def _in_editor(self, item: Work) -> Any:
        from pp_assets.task.spec_file import strict_json

        found = as_plain(item)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "answer.json"
            file.write_text(json.dumps(found["output"] or {}, indent=1, ensure_ascii=False) + "\n", "utf-8")
            edit_file(file)
            try:
                return strict_json(file.read_text("utf-8"))
            except (OSError, ValueError) as error:
                raise UserError(f"is no JSON ({error})", where="the answer", how="nothing was stored") from None
