"""What is known of runs: who asked for what with which variables, and what became of each step."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pp_assets.workflows.planned import Planned
from pp_resources.artifacts import Artifact, write_atomic
from pp_resources.errors import UserError
from pp_resources.settings import Settings
from pp_resources.store.ids import iso, now, uuid7

FOLDER = "workflow_runs"
FILE = "run.json"
RUNNING, DONE, FAILED, INTERRUPTED = "running", "done", "failed", "interrupted"


class Record:
    """One run, on the disk after each change. `document` holds id, workflow, file, variables, state, dagster_runs and steps by name."""

    def __init__(self, folder: Path, document: dict[str, Any]) -> None:
        self.folder, self.document = folder, document

    @classmethod
    def new(cls, settings: Settings, workflow: str, file: Path, variables: Mapping[str, Any]) -> "Record":
        id = uuid7()
        known: dict[str, Any] = {
            "id": id,
            "workflow": workflow,
            "file": str(file.resolve()),
            "variables": dict(variables),
            "began": iso(now()),
        }
        made = cls(settings.home / FOLDER / id, known | {"state": RUNNING, "dagster_runs": [], "steps": {}})
        made._write()
        return made

    @property
    def id(self) -> str:
        return str(self.document["id"])

    @property
    def state(self) -> str:
        """A run that says that it runs while nobody holds it has been ended from outside."""
        if self.document["state"] != RUNNING:
            return str(self.document["state"])
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                return INTERRUPTED
        except Timeout:
            return RUNNING

    @contextmanager
    def held(self, dagster_run: str) -> Iterator[None]:
        """While the run is done by this process. Raises UserError where another does it."""
        try:
            with FileLock(self.folder / ".lock", timeout=0):
                self.document |= {"state": RUNNING, "error": None, "dagster_runs": [*self.document["dagster_runs"], dagster_run]}
                self._write()
                try:
                    yield
                except BaseException as error:
                    ended = isinstance(error, KeyboardInterrupt) or type(error).__name__ == "DagsterExecutionInterruptedError"
                    self.document |= {"state": INTERRUPTED if ended else FAILED, "error": str(error), "ended": iso(now())}
                    self._write()
                    raise
                self.document |= {"state": DONE, "ended": iso(now())}
                self._write()
        except Timeout:
            raise UserError("is running in another process", where=f"run {self.id}", how="wait for it") from None

    def began(self, step: str) -> int:
        """How often the step has been tried in vain."""
        tries = int(self.document["steps"].get(step, {}).get("tries", 0))
        self.document["steps"][step] = {"state": RUNNING, "tries": tries}
        self._write()
        return tries

    def failed(self, step: str, why: str) -> None:
        tries = self.document["steps"][step]["tries"] + 1
        self.document["steps"][step] = {"state": FAILED, "error": why, "tries": tries}
        self._write()

    def done(self, one: Planned, made: Artifact, seconds: float, file: Path | None) -> None:
        known = {"type": one.step.type, "state": DONE, "reused": made.reused, "output": str(made.path), "digest": made.digest}
        told = {key: made.metadata[key] for key in ("mode", "models", "asked", "cached", "tokens_in", "tokens_out", "cost")}
        known |= told | {
            "seconds": round(seconds, 3),
            "seconds_when_made": made.metadata["seconds"],
            "output_file": str(file) if file else None,
        }
        self.document["steps"][one.name] = known
        self._write()

    def told(self) -> dict[str, Any]:
        return self.document | {"state": self.state, "folder": str(self.folder)}

    def _write(self) -> None:
        write_atomic(self.folder / FILE, json.dumps(self.document, ensure_ascii=False, indent=1) + "\n")


def all_runs(settings: Settings) -> list[Record]:
    """The newest first."""
    files = sorted((settings.home / FOLDER).glob(f"*/{FILE}"), reverse=True)
    return [Record(file.parent, json.loads(file.read_text("utf-8"))) for file in files]


def find_run(settings: Settings, id: str) -> Record:
    """By its id, or how that begins or ends. Raises UserError where none is, or more than one."""
    known = all_runs(settings)
    found = [run for run in known if run.id == id] or [run for run in known if run.id.startswith(id) or run.id.endswith(id)]
    if len(found) != 1:
        raise UserError(f"{len(found) or 'no'} runs {id!r}" if found else f"no run {id!r}", where="RUN", how="pp workflow list shows them")
    return found[0]


def last_unfinished(settings: Settings, file: Path) -> Record:
    """The run that --resume goes on with: the last one of this file, where it has not ended well. Raises UserError."""
    last = next((run for run in all_runs(settings) if run.document["file"] == str(file.resolve())), None)
    if last is None or last.state == DONE:
        what = "no run of this file is unfinished" if last is None else f"the last run of this file, {last.id}, is done"
        raise UserError(what, where=str(file), how="run it without --resume")
    return last
