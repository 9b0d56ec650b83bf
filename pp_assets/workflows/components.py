"""Component files: prompts, steps and functions that workflows share, found by id or by path under the workflow's folder.

A file `components/…/x.yaml` beside the workflow has the id that it gives itself, else its own name. A workflow file may also hold a
component whole, under its path as a key; and so may a component file hold itself.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pp_assets.task.spec_file import Place, Where, complaints, read_mapping, read_places
from pp_assets.workflows.grammar import ComponentFile, FunctionUse
from pp_assets.workflows.problems import Problem
from pp_resources.errors import UserError, nearest

PATH = re.compile(r"^components/[\w./-]+\.ya?ml$")


@dataclass(frozen=True)
class Text:
    """A template, and where it stands."""

    text: str
    file: Path
    line: int


@dataclass(frozen=True)
class Component:
    """`kind` is prompt, step or functions; `metrics` what a step component may compute, by group."""

    id: str
    path: str
    kind: str
    template: Text | None = None
    metrics: Mapping[str, Sequence[str]] = field(default_factory=dict)
    step: Mapping[str, Any] = field(default_factory=dict)
    functions: tuple[FunctionUse, ...] = ()


class Shelf:
    """The components that a workflow can reach; `problems` are those of their files."""

    def __init__(self, folder: Path) -> None:
        self.components: list[Component] = []
        self.problems: list[Problem] = []
        for file in sorted((folder / "components").rglob("*.y*ml")):
            self._read(file, file.relative_to(folder).as_posix())

    def find(self, name: str, kind: str) -> Component | None:
        return next((one for one in self.components if name in (one.id, one.path) and one.kind == kind), None)

    def missing(self, name: str, kind: str) -> tuple[str, str]:
        """What is wrong with a name that `find` has not found, and how to mend it."""
        known = [known for one in self.components if one.kind == kind for known in (one.id, one.path)]
        return f"there is no {kind} component {name!r}", nearest(name, known)

    def add(self, raw: Any, path: str, file: Path, places: Mapping[Where, Place], prefix: Where) -> None:
        """One component that stands at `prefix` of a file."""
        try:
            found = ComponentFile.model_validate(raw)
        except ValidationError as error:
            self.problems += list(found_by(error, ComponentFile, file, places, prefix))
            return
        head, at = found.component, (*prefix, "component") if found.component else prefix
        template = head.template if head else found.template
        functions = (head.functions if head else ()) or found.functions
        kind = head.type if head else "prompt" if template is not None else "functions"
        text = None if template is None else Text(template, file, line_of(places, (*at, "template")).text)
        self.components.append(
            Component(
                head.id if head else Path(path).stem,
                path,
                kind,
                text,
                head.supported_metrics if head else {},
                head.step if head else {},
                tuple(functions),
            )
        )

    def _read(self, file: Path, path: str) -> None:
        try:
            raw, places = read_mapping(file), read_places(file)
        except UserError as error:
            line = error.where.rpartition(":")[2]
            self.problems.append(Problem(file, int(line) if line.isdecimal() else 1, error.what, error.how))
            return
        key = next(iter(raw))
        inner = len(raw) == 1 and PATH.match(key.removesuffix(":"))
        self.add(raw[key] if inner else raw, path, file, places, (key,) if inner else ())


def line_of(places: Mapping[Where, Place], where: Where) -> Place:
    """The place of a value, or of the nearest one around it that is there."""
    while where not in places and where:
        where = where[:-1]
    return places.get(where, Place(1, 1))


def found_by(error: ValidationError, model: Any, file: Path, places: Mapping[Where, Place], prefix: Where) -> Iterator[Problem]:
    """Pydantic's complaints with their lines; one for each field, also where several types would do."""
    seen = set()
    for where, dotted, what, how in complaints(error, model):
        line = line_of(places, (*prefix, *where)).line
        if (line, what) not in seen:
            seen.add((line, what))
            yield Problem(file, line, f"{dotted}: {what}" if dotted else what, how)
