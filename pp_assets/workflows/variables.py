"""Variables of a workflow as the user gives them: --set name=value, a file, defaults."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pp_assets.task.spec_file import read_mapping, strict_json
from pp_resources.errors import UserError


def given(sets: Sequence[str], file: Path | None, workflow: Path) -> dict[str, Any]:
    """--set goes before the file, which is `<workflow>.vars.yaml` beside the workflow where none is named. A value of --set is read as JSON
    where it is a number, a truth value, a list or an object; else it is text; `@FILE` is the text of a file."""
    beside = workflow.with_name(f"{workflow.stem}.vars.yaml")
    found = read_mapping(file) if file is not None else read_mapping(beside) if beside.is_file() else {}
    for one in sets:
        name, sign, value = one.partition("=")
        if not sign or not name.isidentifier():
            raise UserError(f"{one!r} is no name=value", where="--set", how="such as --set task_type=triage")
        found[name] = _value(value, name)
    return found


def with_defaults(found: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    return {**defaults, **found}


def _value(text: str, name: str) -> Any:
    if text.startswith("@"):
        try:
            return Path(text[1:]).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"cannot read {text[1:]!r}", where=f"--set {name}", how="give the path of a text file") from error
    try:
        value = strict_json(text)
    except (ValueError, RecursionError):
        return text
    return value if isinstance(value, bool | int | float | list | dict) else text
