"""Digests of what a result depends on: canonical JSON, files, and source code without its comments and docstrings."""

import ast
import hashlib
import json
import os
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache, lru_cache
from importlib.util import cache_from_source
from pathlib import Path
from typing import Any

import orjson

from pp_resources.settings import PROJECT_ROOT

# Python 3.11 parses in one thread at a time: two at once end in "AST constructor recursion depth mismatch" (CPython issue 106905).
PARSING = threading.RLock()


def parse(source: str) -> ast.Module:
    """The syntax tree of a source text, whichever thread asks."""
    with PARSING:
        return ast.parse(source)


def canonical_json(value: Any) -> str:
    """Compact JSON with sorted keys: equal values give equal text."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def digest(value: Any, *, ordered: bool = False) -> str:
    """SHA-256 (hex) of the JSON of `value`, keys sorted; `ordered` keeps their order, which in a schema is that of the answers."""
    text = orjson.dumps(value) if ordered else canonical_json(value).encode()
    return hashlib.sha256(text).hexdigest()


def file_sha256(path: Path) -> str:
    """SHA-256 (hex) of a file, read in blocks."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


@dataclass(frozen=True)
class Source:
    """What is read off the syntax tree of one module: its digest, and the dotted names that it imports, also inside functions."""

    tree: str
    imports: tuple[str, ...]


@lru_cache(maxsize=256)
def code_digest(*modules: str) -> str:
    """SHA-256 over the syntax trees of the named modules and packages (dotted names inside this project).

    Comments, docstrings and layout do not count, so that explaining a line better does not retrain a model.
    """
    trees = {}
    for module in modules:
        base = PROJECT_ROOT.joinpath(*module.split("."))
        files = sorted(base.rglob("*.py")) if base.is_dir() else [base.with_suffix(".py")]
        for file in files:
            trees[file.relative_to(PROJECT_ROOT).as_posix()] = read_source(file).tree
    return digest(trees)


def read_source(file: Path) -> Source:
    """What a module's file holds now. A text that was read before, by whatever process, is not parsed again."""
    return _source(file, file.read_bytes())


@cache  # a module is reached from many others, and results of many kinds depend on it
def _source(file: Path, text: bytes) -> Source:
    """Parsing takes seconds for what one stage depends on, so what it gave is kept beside the module's bytecode, under the text itself:
    never under a time, which a copied file may share with another."""
    of = hashlib.sha256(b"\0".join((text, _method(), sys.version.encode()))).hexdigest()
    kept = Path(cache_from_source(str(file))).with_suffix(".source")
    with suppress(OSError, ValueError, KeyError, TypeError):  # nothing kept, or what a power cut left of it
        found = json.loads(kept.read_bytes())
        if found["of"] == of:
            return Source(found["tree"], tuple(found["imports"]))
    tree = parse(text.decode())
    made = Source(imports=_imports(tree), tree=digest(ast.dump(without_docstrings(tree))))
    with suppress(OSError):  # where the folder is not ours to write, sources are parsed each time
        _keep(kept, json.dumps({"of": of, **asdict(made)}))
    return made


@cache
def _method() -> bytes:
    """How a source is read: other code of this module reads every one again."""
    return Path(__file__).read_bytes()


def _keep(file: Path, text: str) -> None:
    """Without a sync: what is lost is read again."""
    file.parent.mkdir(exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{file.name}.", dir=file.parent)
    with os.fdopen(handle, "w", encoding="utf-8") as out:
        out.write(text)
    Path(name).replace(file)


def _imports(tree: ast.AST) -> tuple[str, ...]:
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return tuple(sorted(names))


def without_docstrings(tree: ast.AST) -> ast.AST:
    """The tree itself, in which no docstring is left."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
