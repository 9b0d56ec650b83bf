"""Strings that are copied from the input (`x-verbatim`) under constrained decoding: a grammar of each input's own, in which they are
pieces of it.

JSON Schema has no word for this, but llguidance's Lark dialect knows the substrings of a text, and parts of it may be JSON Schema again. To
compile one takes 2 to 5 ms for messages of 200 characters, 130 ms for 20,000.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from pp_resources.json_schema import follow, resolve

# Any more says what a piece of the input need not keep to: such a string is held to its schema alone.
_STRING = {"type", "minLength", "maxLength", "x-verbatim"}
_ARRAY = {"type", "items", "minItems", "maxItems", "uniqueItems", "x-verbatim"}
_OBJECT = {"type", "properties", "required", "additionalProperties", "$defs", "definitions", "$schema", "$id"}
_WORDS = {"title", "description", "examples", "default", "$comment"}
_LETTER = r"(\\u[0-9a-f]{4}|\\[^u]|[^\\])"  # as JSON writes it


class Copies:
    """The grammar of a schema up to the input. `loose` are the places of `x-verbatim` that it cannot hold an answer to.

    `narrow` makes of a part of the schema what the compiler gets, and `overrides` are its settings.
    """

    def __init__(self, schema: Mapping[str, Any], narrow: Callable[[Any], Any], overrides: Mapping[str, Any]) -> None:
        self._schema, self._narrow, self._overrides = schema, narrow, overrides
        self._rules: list[str] = []
        self.loose: list[str] = []
        self._pieces: dict[str, str] = {}  # terminals by name
        self._least = 0  # the longest of the shortest pieces
        start = self._rule(schema, "", frozenset())
        self._lark = "\n".join([f"start: {start}", *self._rules, *self._pieces.values(), "PIECE: %regex "])

    def fit(self, text: str) -> bool:
        """Whether there is something to copy, and the input has a piece of each length that is asked for: the grammar of one that has
        none would end in the middle of an answer."""
        return bool(self._pieces) and len(text) >= max(1, self._least)

    def lark(self, text: str) -> str:
        """The grammar of the answers to this input, which must `fit`."""
        # Chunks, so that a piece never ends inside of an escape.
        chunks = [json.dumps(letter, ensure_ascii=False)[1:-1] for letter in text]
        return self._lark + json.dumps({"substring_chunks": chunks})

    def _rule(self, node: Any, place: str, within: frozenset[str]) -> str:
        """What stands for a node in other rules; `within` are the references that led to it."""
        inner, nullable = resolve(self._schema, node)
        if not self._marked(inner, frozenset()):
            return self._named(self._json(node))
        refs = {b["$ref"] for b in (node, *node.get("anyOf", ()), *node.get("oneOf", ())) if isinstance(b, Mapping) and "$ref" in b}
        kind = inner.get("type")
        kinds = {kind} if isinstance(kind, str) else set(kind or ())
        known = inner.keys() - _WORDS
        or_null = ' | "null"' if nullable or "null" in kinds else ""
        kinds.discard("null")
        made = None
        if refs & within:
            pass  # an object that holds its like
        elif kinds == {"string"} and known <= _STRING:
            made = f'"\\"" {self._piece(inner.get("minLength", 0), inner.get("maxLength", ""))} "\\""'
        elif kinds == {"array"} and known <= _ARRAY and isinstance(inner.get("items"), Mapping):
            marked = {**inner["items"], "x-verbatim": True} if inner.get("x-verbatim") else inner["items"]
            made = _listed(self._rule(marked, f"{place}.items", within | refs), inner.get("minItems", 0), inner.get("maxItems"))
        elif kinds == {"object"} and known <= _OBJECT:
            made = self._object(inner, place, within | refs)
        if made is None:
            self.loose.append(f"{place}.x-verbatim".removeprefix("."))
            return self._named(self._json(node))
        return self._named(made + or_null)

    def _piece(self, least: int, most: int | str) -> str:
        name, self._least = f"PIECE_{least}_{most}", max(least, self._least)
        self._pieces[name] = f"{name}: PIECE & /{_LETTER}{{{least},{most}}}/"
        return name

    def _object(self, node: Mapping[str, Any], place: str, within: frozenset[str]) -> str | None:
        """None when a property may be left out: the commas would depend on it."""
        narrow = self._narrow(node)
        properties = node.get("properties", {})
        if narrow.get("additionalProperties") is not False or set(narrow.get("required", ())) != properties.keys():
            return None
        parts = []
        for i, (name, child) in enumerate(properties.items()):
            key = ("{" if not i else ",") + json.dumps(name, ensure_ascii=False) + ":"
            parts.append(f"{json.dumps(key)} {self._rule(child, f'{place}.properties.{name}', within)}")
        return " ".join([*parts, '"}"'])

    def _marked(self, node: Any, seen: frozenset[str]) -> bool:
        """Whether anything in a node is marked, behind references too."""
        if isinstance(node, list):
            return any(self._marked(child, seen) for child in node)
        if not isinstance(node, Mapping):
            return False
        ref = node.get("$ref")
        if isinstance(ref, str) and ref not in seen and self._marked(follow(self._schema, ref), seen | {ref}):
            return True
        return bool(node.get("x-verbatim")) or any(self._marked(child, seen) for child in node.values())

    def _json(self, node: Any) -> str:
        made = {**self._narrow(node), "x-guidance": self._overrides}
        for name in ("$defs", "definitions"):
            if name in self._schema:
                made[name] = self._narrow(self._schema[name])
        return f"%json {json.dumps(made)}"

    def _named(self, body: str) -> str:
        name = f"r{len(self._rules)}"
        self._rules.append(f"{name}: {body}")
        return name


def _listed(item: str, least: int, most: int | None) -> str:
    if most == 0:
        return '"[]"'
    more = f"{max(0, least - 1)},{'' if most is None else most - 1}"
    return ('"[]" | ' if not least else "") + f'"[" {item} ("," {item}){{{more}}} "]"'
