"""From a file to a workflow: what can be said of each part by itself. What the parts need of each other is looked at in `plan`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pp_assets.task.spec_file import Place, Where, read_mapping, read_places
from pp_assets.workflows.components import PATH, Component, Shelf, Text, found_by, line_of
from pp_assets.workflows.grammar import Defaults, Step, Workflow
from pp_assets.workflows.problems import Problem
from pp_resources.errors import nearest

STUB: dict[str, Any] = {"name": "stub", "type": "stub"}  # stands for the steps, which are looked at one by one


@dataclass
class Loaded:
    """A workflow as far as it can be read. `steps` are those that are sound, each with its index in the file; `named` all names."""

    file: Path
    places: Mapping[Where, Place]
    prefix: Where
    name: str
    description: str
    defaults: Defaults
    shelf: Shelf
    steps: list[tuple[int, Step]] = field(default_factory=list)
    named: list[str] = field(default_factory=list)
    components: dict[str, Component] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def line(self, index: int, *where: int | str) -> int:
        """The line of a key of a step."""
        return line_of(self.places, (*self.prefix, "steps", index, *where)).line

    def text(self, text: str, index: int, *where: int | str) -> Text:
        """A text of a step with its place."""
        return Text(text, self.file, line_of(self.places, (*self.prefix, "steps", index, *where)).text)

    def problem(self, line: int, what: str, how: str = "") -> None:
        self.problems.append(Problem(self.file, line, what, how))


def load(file: Path) -> Loaded:
    """Read a workflow file. Raises UserError for one that is no YAML mapping; everything else is in `problems`."""
    raw, places = read_mapping(file), read_places(file)
    shelf = Shelf(file.parent)
    for key in [key for key in raw if PATH.match(key.removesuffix(":"))]:
        shelf.add(raw.pop(key), key.removesuffix(":"), file, places, (key,))
    prefix: Where = ("workflow",) if "workflow" in raw else ()
    body = raw.get("workflow") if prefix else raw
    found = Loaded(file, places, prefix, _slug(file), "", Defaults(), shelf, problems=list(shelf.problems))
    if prefix:
        for key in raw.keys() - {"workflow"}:
            found.problem(places[(key,)].line, f"unknown key {key!r} beside 'workflow'", "a component stands under components/….yaml")
    if not isinstance(body, dict):
        found.problem(places[("workflow",)].line, "'workflow' is no mapping", "give it name, defaults and steps")
        return found
    _head(found, body)
    steps = body.get("steps")
    for i, step in enumerate(steps if isinstance(steps, list) else []):
        _step(found, i, step)
    _names(found)
    return found


def _head(found: Loaded, body: dict[str, Any]) -> None:
    """Everything but the steps."""
    stub = {"name": found.name} | body
    if isinstance(body.get("steps"), list) and body["steps"]:
        stub["steps"] = [STUB]
    try:
        head = Workflow.model_validate(stub)
    except ValidationError as error:
        found.problems += list(found_by(error, Workflow, found.file, found.places, found.prefix))
        return
    found.name, found.description, found.defaults = head.name, head.description, head.defaults


def _step(found: Loaded, i: int, raw: Any) -> None:
    name = raw.get("name") if isinstance(raw, dict) else None
    found.named.append(str(name))
    if isinstance(raw, dict) and (shared := found.shelf.find(str(raw.get("type")), "step")):
        raw = {"type": "calculate", **shared.step, **{key: value for key, value in raw.items() if key != "type"}}
        found.components[str(name)] = shared
    try:
        found.steps.append((i, Step.model_validate(raw)))
    except ValidationError as error:
        found.problems += list(found_by(error, Step, found.file, found.places, (*found.prefix, "steps", i)))


def _names(found: Loaded) -> None:
    for i, name in enumerate(found.named):
        if name in found.named[:i]:
            first = found.line(found.named.index(name), "name")
            found.problem(found.line(i, "name"), f"step name {name!r} stands twice", f"the first is in line {first}")


def component_text(found: Loaded, given: str, index: int, *where: int | str) -> Text | None:
    """The template that a key gives or names: one word without braces is the id or path of a prompt component."""
    word = given.strip()
    if not word or any(c.isspace() or c in "{}" for c in word):
        return found.text(given, index, *where)
    component = found.shelf.find(word, "prompt")
    if component is not None:
        return component.template
    if "/" in word or word.endswith((".yaml", ".yml")) or nearest(word, [c.id for c in found.shelf.components]).startswith("did"):
        found.problem(found.line(index, *where), *found.shelf.missing(word, "prompt"))
        return None
    return found.text(given, index, *where)


def _slug(file: Path) -> str:
    word = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "-" for c in file.stem.lower()).strip("._-")
    return word[:63] or "workflow"
