"""Which model and which mode a step's type means: one table, which the user can change.

A type is a form with the word of a model in it: `claude`, `parallel_claude`, `gemini_instructor`, `claude_smart_batch`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from pp_assets.task.spec_file import read_mapping, user_error
from pp_assets.workflows.grammar import Table
from pp_resources.errors import UserError, nearest

BESIDE, AT_HOME = "step_types.yaml", "workflow.yaml"
MODES = ("ask", "parallel", "batch", "robust", "extract", "session", "instructor", "calculate")
SHIPPED = Table(
    models={
        "claude": "anthropic/claude-sonnet-5-5",
        "claude_smart": "anthropic/claude-opus-5-5",
        "claude_fast": "anthropic/claude-haiku-5-5",
        "gemini": "google/gemini-3.5-flash",
        "gemini_fast": "google/gemini-3.5-flash-lite",
        "gpt": "openai/gpt-5-mini",
        "local": "local/promptprecision/tiny-base",
    },
    modes={
        "{model}": "ask",
        "parallel_{model}": "parallel",
        "{model}_batch": "batch",
        "{model}_robust": "robust",
        "{model}_extract": "extract",
        "{model}_session": "session",
        "{model}_instructor": "instructor",
        "calculate": "calculate",
    },
)


@dataclass(frozen=True)
class StepType:
    """What a type means. `model` is empty where none is asked."""

    mode: str
    model: str


def step_types(folder: Path, home: Path) -> Mapping[str, StepType]:
    """Every type that a step may have. The file beside the workflow goes before the one at home, and both before what is shipped."""
    models, modes = dict(SHIPPED.models), dict(SHIPPED.modes)
    for file in (home / AT_HOME, folder / BESIDE):
        if file.is_file():
            found = _read(file)
            models |= found.models
            modes |= found.modes
    return {
        form.format(model=word): StepType(mode, name if "{model}" in form else "")
        for form, mode in modes.items()
        for word, name in models.items()
    }


def _read(file: Path) -> Table:
    try:
        found = Table.model_validate(read_mapping(file))
    except ValidationError as error:
        raise user_error(error, Table, str(file)) from error
    for form, mode in found.modes.items():
        if mode not in MODES:
            raise UserError(f"unknown mode {mode!r}", where=f"{file}: modes.{form}", how=nearest(mode, MODES))
        if form.count("{model}") != 1 or "{" in form.replace("{model}", ""):
            raise UserError(f"{form!r} does not hold {{model}} once", where=f"{file}: modes", how="such as '{model}_batch'")
    return found
