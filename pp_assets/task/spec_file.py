"""Strict reading of what a person writes: YAML or JSON text to plain values, and pydantic's complaints to one UserError."""

import json
import math
import re
import types
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from pp_resources.errors import UserError, nearest

SUFFIXES = (".yaml", ".yml", ".json")


class FieldProblem(ValueError):
    """A fault that a model validator finds: `field` is the dotted path in the file."""

    def __init__(self, field: str, what: str, how: str = "") -> None:
        self.field, self.what, self.how = field, what, how
        super().__init__(f"{field}: {what}" + (f"; {how}" if how else ""))


class _Loader(yaml.SafeLoader):
    """YAML with the scalars of JSON: `no`, `on` and dates stay text, a key that is written twice is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} is not text, put it in quotes", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} stands twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def _json_scalars() -> dict[str, list[tuple[str, Any]]]:
    """The resolvers of SafeLoader less timestamps and the yes/no/on/off booleans."""
    table: dict[str, list[tuple[str, Any]]] = {}
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items():
        kept = [(tag, rule) for tag, rule in pairs if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:bool")]
        table[first] = kept
    return table


_Loader.yaml_implicit_resolvers = _json_scalars()
_Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF"))


def read_mapping(path: Path) -> dict[str, Any]:
    """One mapping from a YAML or JSON file. Raises UserError naming file and line."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError as error:
        known = [p.name for p in path.parent.iterdir() if p.suffix in SUFFIXES and p.is_file()] if path.parent.is_dir() else []
        raise UserError("no such file", where=str(path), how=nearest(path.name, known) if known else "") from error
    except IsADirectoryError as error:
        raise UserError("is a folder", where=str(path), how="give the name of a file in it") from error
    except UnicodeDecodeError as error:
        raise UserError(f"not UTF-8 text (byte {error.start})", where=str(path), how="save the file as UTF-8") from error
    try:
        found = strict_json(text) if path.suffix == ".json" else yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        raise UserError(f"not YAML: {getattr(error, 'problem', None) or error}", where=f"{path}{line}") from error
    except json.JSONDecodeError as error:
        raise UserError(f"not JSON: {error.msg}", where=f"{path}:{error.lineno}") from error
    except (ValueError, RecursionError) as error:
        raise UserError(f"not {'JSON' if path.suffix == '.json' else 'YAML'}: {error}", where=str(path)) from error
    if not isinstance(found, dict):
        raise UserError(f"holds {_kind(found)}, not a mapping of fields", where=str(path), how="start with 'version: 1'")
    return found


class Place(NamedTuple):
    """Where a value stands, lines from 1: that of its key, and that of the first line of its text."""

    line: int
    text: int


Where = tuple[int | str, ...]


def read_places(path: Path) -> Mapping[Where, Place]:
    """Where each value of a mapping that `read_mapping` has read stands in its file, by the keys and indexes that lead to it."""
    root = yaml.compose(path.read_bytes().decode("utf-8-sig"), _Loader)
    return dict(_places(root, (), 1, ()))


def _places(node: Any, where: Where, line: int, above: tuple[int, ...]) -> Iterator[tuple[Where, Place]]:
    begins = node.start_mark.line + (2 if getattr(node, "style", None) in ("|", ">") else 1)
    yield where, Place(line, begins)
    if id(node) in above:
        raise UserError("an anchor holds itself", where=f"line {line}")
    above = (*above, id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from _places(value, (*where, key.value), key.start_mark.line + 1, above)
    elif isinstance(node, yaml.SequenceNode):
        for i, item in enumerate(node.value):
            yield from _places(item, (*where, i), item.start_mark.line + 1, above)


def strict_json(text: str) -> Any:
    """JSON without NaN, Infinity, numbers beyond a double, and keys that are written twice. Raises ValueError or RecursionError."""
    return json.loads(text, object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Readers differ in which of two equal keys they take, so that such a line means nothing.
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"duplicate key {twice!r}")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"number {text[:20]} is out of range")
    return value


def user_error(error: ValidationError, model: type[BaseModel], where: str) -> UserError:
    """The first complaint of pydantic as one UserError: file, dotted field, nearest match; the number of further ones."""
    problems = complaints(error, model)
    _, field, what, how = problems[0]
    if len(problems) > 1:
        what += f" (and {len(problems) - 1} more)"
    return UserError(what, where=f"{where}: {field}" if field else where, how=how)


def complaints(error: ValidationError, model: type[BaseModel]) -> list[tuple[Where, str, str, str]]:
    """All complaints of pydantic: the location, the dotted field, what is wrong and how to mend it."""
    # A misspelt key comes first: it explains the missing one that pydantic finds before it.
    problems = sorted(error.errors(include_url=False), key=lambda problem: problem["type"] != "extra_forbidden")
    return [(problem["loc"], *_explain(problem, model)) for problem in problems]


def _explain(problem: Any, model: type[BaseModel]) -> tuple[str, str, str]:
    loc, kind, given = problem["loc"], problem["type"], problem["input"]
    field = ".".join(map(str, loc))
    cause = problem.get("ctx", {}).get("error")
    if isinstance(cause, FieldProblem):
        return ".".join(filter(None, [field, cause.field])), cause.what, cause.how
    if kind == "extra_forbidden":
        return field, f"unknown key {loc[-1]!r}", nearest(str(loc[-1]), _keys_at(model, loc[:-1]))
    if kind == "missing":
        return field, f"{loc[-1]!r} is missing", ""
    if kind == "literal_error":
        allowed = [part.strip("'\"") for part in problem["ctx"]["expected"].replace(" or ", ", ").split(", ")]
        return field, f"{given!r} is not one of the allowed values", nearest(str(given), allowed)
    message = problem["msg"].removeprefix("Value error, ")
    shown = repr(given)
    return field, f"{message} (given: {shown if len(shown) <= 80 else shown[:77] + '...'})", ""


def _keys_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    """Field names of the model that sits at a location. Where one of several may, the location names it by its `kind`."""
    here: Any = model
    for part in loc:
        among = [one for one in get_args(here) if _is_model(one)] if get_origin(here) in (Union, types.UnionType) else []
        if among:
            here = next((one for one in among if get_args(one.model_fields["kind"].annotation) == (part,)), None)
        else:
            here = here.model_fields[str(part)].annotation if _is_model(here) else get_args(here)[-1]
        if get_origin(here) is Annotated:
            here = get_args(here)[0]
        if get_origin(here) in (Union, types.UnionType):
            kinds = [arg for arg in get_args(here) if arg is not type(None)]
            here = kinds[0] if len(kinds) == 1 or not all(map(_is_model, kinds)) else here
    return [field.alias or name for name, field in here.model_fields.items()] if _is_model(here) else []


def _is_model(found: Any) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)


def _kind(value: Any) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"
