"""Which code is of a library, whose version says all, and which is the user's own, which has to be looked into."""

import functools
import importlib.metadata
import importlib.util
import sys
import sysconfig
import types
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
_FOLDERS = tuple(Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "purelib", "platlib"))


@dataclass(frozen=True)
class Library:
    """A distribution, or Python itself. To know it by its version spares importing it, which can take seconds."""

    name: str
    version: str


PYTHON = Library("Python", _PYTHON)


@functools.lru_cache(maxsize=1)
def _distributions() -> Mapping[str, list[str]]:
    return importlib.metadata.packages_distributions()


@functools.lru_cache(maxsize=1024)
def library(top: str) -> Library | None:
    """The library that a top-level module is of, Python's own among them; None for code of the user's own, which is looked into."""
    if top in sys.stdlib_module_names:
        return None if top == "__main__" else PYTHON
    try:
        found = importlib.util.find_spec(top)
    except ValueError:  # `__main__`, or a module that was made by hand
        return None
    if found is None or not found.origin or not any(Path(found.origin).resolve().is_relative_to(folder) for folder in _FOLDERS):
        return None
    distribution = _distributions().get(top, [top])[0]
    try:
        return Library(distribution, importlib.metadata.version(distribution))
    except importlib.metadata.PackageNotFoundError:
        return Library(top, str(getattr(sys.modules.get(top), "__version__", "")))


def library_of(value: Any) -> Library | None:
    """The library that a module, or what is defined in one, comes from."""
    name = value.__name__ if isinstance(value, types.ModuleType) else _module_of(value)
    if name == "builtins" and isinstance(value, types.FunctionType):
        return None  # made by hand, outside of any module; Python's own are not of this type
    return library(name.partition(".")[0])


def _module_of(value: Any) -> str:
    return getattr(value, "__module__", None) or type(value).__module__


def is_own(value: Any) -> bool:
    """Whether an object is what its library has under its name, such as numpy's functions that are no functions."""
    name, module = getattr(value, "__name__", None), sys.modules.get(_module_of(value))
    return isinstance(name, str) and getattr(module, name, None) is value and library_of(value) is not None
