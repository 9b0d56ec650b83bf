"""The template language of prompts: `{name}`, `{step.field}`, `{for example in examples} … {endfor}`; `{{` and `}}` are braces.

Braces around anything else (JSON in a prompt) are text. A text that is nothing but one `{name}` is that value itself, not its text.
"""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

_NAME = r"[A-Za-z_]\w*(?:\.\w+)*"
_TOKEN = re.compile(rf"(\{{\{{|\}}\}})|\{{for\s+([A-Za-z_]\w*)\s+in\s+({_NAME})\}}\n?|\{{(endfor)\}}\n?|\{{({_NAME})\}}")
Lookup = Callable[[str], Any]


@dataclass(frozen=True)
class Ref:
    """A dotted name, and in which line of the text it stands, from 0."""

    name: str
    line: int


@dataclass(frozen=True)
class Loop:
    """`body` for each item of what `over` names."""

    item: str
    over: Ref
    body: "tuple[Part, ...]"


Part = str | Ref | Loop


class TemplateFault(ValueError):
    """What is wrong with a template, and in which of its lines, from 0."""

    def __init__(self, what: str, line: int) -> None:
        self.what, self.line = what, line
        super().__init__(what)


def parse(text: str) -> tuple[Part, ...]:
    """Raises TemplateFault for a loop that is not closed, or closed twice."""
    open_: list[tuple[str, Ref, list[Part]]] = []
    here: list[Part] = []
    end = 0
    for found in _TOKEN.finditer(text):
        line = text.count("\n", 0, found.start())
        if found.start() > end:
            here.append(text[end : found.start()])
        end = found.end()
        brace, item, over, close, name = found.groups()
        if brace:
            here.append(brace[0])
        elif item:
            open_.append((item, Ref(over, line), here))
            here = []
        elif close:
            if not open_:
                raise TemplateFault("{endfor} without a {for … in …} before it", line)
            item, ref, outer = open_.pop()
            outer.append(Loop(item, ref, tuple(here)))
            here = outer
        else:
            here.append(Ref(name, line))
    if open_:
        item, ref, _ = open_[-1]
        raise TemplateFault(f"{{for {item} in {ref.name}}} has no {{endfor}}", ref.line)
    return (*here, text[end:]) if end < len(text) else tuple(here)


def names(parts: Sequence[Part], bound: frozenset[str] = frozenset()) -> Iterator[Ref]:
    """The names that must be known, without those that loops bind."""
    for part in parts:
        if isinstance(part, Ref) and part.name.partition(".")[0] not in bound:
            yield part
        elif isinstance(part, Loop):
            if part.over.name.partition(".")[0] not in bound:
                yield part.over
            yield from names(part.body, bound | {part.item})


def render(text: str, lookup: Lookup) -> str:
    """The text with the values in it; what is no text as JSON. Raises what `lookup` raises."""
    return "".join(_render(parse(text), lookup))


def value_of(text: str, lookup: Lookup) -> Any:
    """The value that a text names, when it is nothing but one name; else the rendered text."""
    parts = parse(text.strip())
    return lookup(parts[0].name) if len(parts) == 1 and isinstance(parts[0], Ref) else render(text, lookup)


def as_text(value: Any) -> str:
    """How a value reads in a prompt."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def inside(value: Any, path: Sequence[str]) -> Any:
    """What lies at a path of keys and indexes. Raises KeyError with the part that is not there."""
    for part in path:
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            raise KeyError(part)
    return value


def _render(parts: Sequence[Part], lookup: Lookup) -> Iterator[str]:
    for part in parts:
        if isinstance(part, str):
            yield part
        elif isinstance(part, Ref):
            yield as_text(lookup(part.name))
        else:
            items = lookup(part.over.name)
            for item in items if isinstance(items, list) else [items]:
                yield from _render(part.body, _bound(lookup, part.item, item))


def _bound(lookup: Lookup, name: str, item: Any) -> Lookup:
    def found(wanted: str) -> Any:
        first, *rest = wanted.split(".")
        return inside(item, rest) if first == name else lookup(wanted)

    return found
