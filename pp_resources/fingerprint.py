"""Digests of what a result depends on: canonical JSON, files, and source code without its comments and docstrings."""

import ast
import hashlib
import threading
from functools import cache, lru_cache
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
            trees[file.relative_to(PROJECT_ROOT).as_posix()] = _tree_digest(file.read_text("utf-8"))
    return digest(trees)


@cache  # results of many kinds depend on the same modules
def _tree_digest(source: str) -> str:
    return digest(ast.dump(without_docstrings(parse(source))))


def without_docstrings(tree: ast.AST) -> ast.AST:
    """The tree itself, in which no docstring is left."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return tree
