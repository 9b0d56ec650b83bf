"""What the code of a function depends on: its own syntax, its helpers, constants and defaults, and the versions of libraries.

A cached result is only as good as this. Comments, docstrings and moved lines change nothing; an edit in a helper two levels down, in a
prompt constant or in a default does. What cannot be told apart (an open connection, a loaded model) is refused rather than taken for equal.
"""

import ast
import dataclasses
import dis
import enum
import functools
import importlib
import inspect
import logging
import re
import textwrap
import threading
import types
from collections.abc import Iterator, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pp_assets.experiment.libraries import PYTHON, Library, is_own, library, library_of
from pp_assets.experiment.values import NotData, encode
from pp_resources.errors import UserError
from pp_resources.fingerprint import PARSING, digest, without_docstrings

# Objects that no result depends on, and whose state says nothing.
_HARMLESS = (logging.Logger, type(threading.Lock()), type(threading.RLock()), TypeVar)


@dataclass(frozen=True)
class Fingerprint:
    """`digest` (hex) of all `parts`: what each function, constant and library that was reached looks like, by its name."""

    parts: Mapping[str, str]

    @functools.cached_property
    def digest(self) -> str:
        return digest(dict(self.parts))

    def changed(self, before: "Mapping[str, str]") -> list[str]:
        """What differs from the parts of an earlier version, in words."""
        said = []
        for name in sorted({*self.parts, *before}):
            if name not in before:
                said.append(f"{name} is new")
            elif name not in self.parts:
                said.append(f"{name} is gone")
            elif self.parts[name] != before[name]:
                kept = (before[name], self.parts[name])
                said.append(f"{name} changed" + (f" from {kept[0]} to {kept[1]}" if name.startswith("version of") else ""))
        return said


def fingerprint(function: Any, *, docstrings: bool = False) -> Fingerprint:
    """The fingerprint of a function, method, class or callable object. `docstrings` counts them, for frameworks that use them as prompts.

    Raises UserError for what it uses and cannot be told apart.
    """
    walk = _Walk(_name(function), docstrings)
    with PARSING:  # `inspect` parses too, to find a class
        walk.value(_name(function), function)
    return Fingerprint(dict(sorted(walk.parts.items())))


@dataclass
class _Walk:
    root: str
    docstrings: bool
    parts: dict[str, str] = field(default_factory=dict)
    seen: dict[int, Any] = field(default_factory=dict)  # held, so that no other object takes their ids

    def value(self, name: str, value: Any) -> None:
        """Take in whatever `name` stands for."""
        if isinstance(value, functools._lru_cache_wrapper):
            value = value.__wrapped__
        if isinstance(value, _HARMLESS) or type(value) is object or id(value) in self.seen:
            return
        if isinstance(value, types.FunctionType | type | types.ModuleType | types.MethodType):
            self.seen[id(value)] = value
            if (origin := library_of(value)) is not None:
                self.value(name, origin)
            elif isinstance(value, types.FunctionType):
                self._function(value)
            elif isinstance(value, types.MethodType):
                self.value(_name(value.__func__), value.__func__)
                self.value(f"self of {_name(value)}", value.__self__)
            elif isinstance(value, type):
                self._class(value)
            else:
                self._put(f"module {value.__name__}", _dump(ast.parse(inspect.getsource(value)), self.docstrings))
        elif isinstance(value, Library):
            self.parts[f"version of {value.name}"] = value.version
        elif isinstance(value, types.BuiltinFunctionType | types.MethodWrapperType | types.GetSetDescriptorType):
            self.value(name, library_of(value) or PYTHON)
        elif is_own(value):
            self.value(name, library_of(value))
        elif isinstance(value, functools.partial):
            for part in (value.func, value.args, value.keywords):
                self.value(name, part)
        else:
            self._data(name, value)

    def _put(self, name: str, content: Any) -> None:
        # Functions that one place makes several times have one name.
        said, number = digest(content), 1
        while self.parts.get(name, said) != said:
            number += 1
            name = f"{name.partition(' #')[0]} #{number}"
        self.parts[name] = said

    def _function(self, function: types.FunctionType) -> None:
        code, name = function.__code__, _name(function)
        self._put(name, _tree(function, self.docstrings))
        for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
            self.value(f"default of {name}", default)
        for free, cell in zip(code.co_freevars, function.__closure__ or ()):
            try:
                self.value(f"{free} of {name}", cell.cell_contents)
            except ValueError:  # a cell that is not filled yet
                continue
        for used, value in _used(code, function.__globals__):
            self.value(f"{function.__module__}.{used}", value)

    def _class(self, kind: type) -> None:
        for base in kind.__mro__[1:-1]:
            self.value(base.__name__, base)
        try:
            self._put(_name(kind), _dump(ast.parse(textwrap.dedent(inspect.getsource(kind))), self.docstrings))
            known = True
        except (OSError, TypeError, SyntaxError):
            known = False
        for name, member in vars(kind).items():
            inner = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            inner = inner.func if isinstance(inner, functools.cached_property) else inner
            if isinstance(inner, types.FunctionType):
                # What a decorator such as `dataclass` writes follows from the source of the class.
                if not known or not inner.__code__.co_filename.startswith("<"):
                    self.value(name, inner)
            elif not name.startswith("__"):
                with suppress(UserError) if known else nullcontext():
                    self._data(f"{_name(kind)}.{name}", inner)

    def _data(self, name: str, value: Any) -> None:
        if isinstance(identity := getattr(value, "identity", None), str):
            self._put(name, identity)
            return
        if isinstance(value, list | tuple | set | frozenset) and any(map(callable, value)):
            for part in value:
                self.value(name, part)
            return
        if isinstance(value, dict) and any(map(callable, value.values())):
            for key, part in value.items():
                self.value(f"{name}[{key!r}]", part)
            return
        try:
            self._put(name, encode(value).hex())
            return
        except NotData:
            pass
        if isinstance(value, re.Pattern):
            self._put(name, [value.pattern, value.flags])
        elif isinstance(value, enum.Enum):
            self.value(_name(type(value)), type(value))
            self._put(name, value.name)
        elif library_of(type(value)) is None and hasattr(value, "__dict__"):
            self.seen[id(value)] = value
            self.value(_name(type(value)), type(value))
            for key, part in vars(value).items():
                self.value(f"{name}.{key}", part)
        elif dataclasses.is_dataclass(value):
            self.value(name, dataclasses.asdict(value))  # type: ignore[arg-type]
        else:
            raise UserError(
                f"uses {name}, a {type(value).__name__}, of which nobody can say whether it is the same as the last time",
                where=self.root,
                how="pass it as an argument with an `identity`, or say when the step changes: @op(version='1')",
            )


def _used(code: types.CodeType, names: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """What a function takes from outside: dotted names with what they stand for. Modules are followed by attributes."""
    found: tuple[str, Any] | None = None
    taken = False
    for step in dis.get_instructions(code):
        if found is not None and isinstance(found[1], types.ModuleType):
            if step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                found = (f"{found[0]}.{step.argval}", getattr(found[1], step.argval, None))
                continue
            if step.opname == "IMPORT_FROM":
                name = f"{found[0]}.{step.argval}"
                yield name, getattr(found[1], step.argval, None) or _imported(name)
                taken = True
                continue
            if taken and step.opname != "POP_TOP":  # more names, or their storing, until the module is dropped
                continue
        if found is not None and not taken:
            yield found
        found, taken = None, False
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME") and step.argval in names:
            value = names[step.argval]
            found = (step.argval, (library_of(value) if isinstance(value, types.ModuleType) else None) or value)
        elif step.opname == "IMPORT_NAME":
            found = (step.argval, _imported(step.argval))
            taken = isinstance(found[1], Library) and (yield found) is None
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _used(constant, names)


def _imported(name: str) -> Any:
    if (found := library(name.partition(".")[0])) is not None:
        return found
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _tree(function: types.FunctionType, docstrings: bool) -> Any:
    """The syntax of a function without positions; where there is no source its bytecode, which each version of Python writes otherwise."""
    code = function.__code__
    try:
        lines, _ = inspect.getsourcelines(code)
        tree = ast.parse(textwrap.dedent("".join(lines)))
        kinds = ast.Lambda if function.__name__ == "<lambda>" else ast.FunctionDef | ast.AsyncFunctionDef
        found = [node for node in ast.walk(tree) if isinstance(node, kinds)]
        node = found[0] if kinds is not ast.Lambda or len(found) == 1 else None
    except (OSError, SyntaxError, IndexError):
        node = None
    if node is None:
        return [PYTHON.version, *_bytes(code)]
    if not isinstance(node, ast.Lambda):
        node.name = ""  # type: ignore[attr-defined]
        node.decorator_list = [d for d in node.decorator_list if not _is_op(d)]  # type: ignore[attr-defined]
    return _dump(node, docstrings)


def _bytes(code: types.CodeType) -> list[Any]:
    constants = [_bytes(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts]
    return [code.co_code.hex(), constants, list(code.co_names), list(code.co_varnames)]


def _dump(node: ast.AST, docstrings: bool) -> str:
    return ast.dump(node if docstrings else without_docstrings(node))


def _is_op(decorator: ast.expr) -> bool:
    target = decorator.func if isinstance(decorator, ast.Call) else decorator
    return (target.id if isinstance(target, ast.Name) else getattr(target, "attr", "")) == "op"


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"
