"""`pp task check`: everything that would stop or spoil a run, found before anything is trained."""

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from pp_assets.task.dataset import QUARANTINE, REPORT, Example, build_dataset, iter_split
from pp_assets.task.spec import Task
from pp_resources.errors import UserError, nearest

SHOWN_LINES = 20
# Enough to meet every kind of value; a variant's check reads these and no more.
EXAMPLES_FOR_VARIANTS = 20_000


@dataclass
class CheckReport:
    """`problems` stop a run, `warnings` do not. `summary` is the data set's report.json (empty when the data could not be read);
    `quarantine` holds the first lines of the quarantine; `prompt` the measures of the prompt (`PromptQuality.as_dict`), which
    `prompt_lines` tells."""

    task: str
    file: str
    digest: str
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    quarantine: list[dict[str, Any]] = field(default_factory=list)
    prompt: dict[str, Any] = field(default_factory=dict)
    prompt_lines: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON output."""
        return {"ok": self.ok, **asdict(self)}


def check_task(task: Task) -> CheckReport:
    """Check base models, variants and metric names, read all data, and try each variant against schema and data.

    The spec itself was checked when it was loaded. Nothing is written beside a temporary folder; no test row is looked at by a variant.
    """
    report = CheckReport(task.name, str(task.file), task.digest)
    _check_bases(task, report)
    _check_metrics(task, report)
    _check_searches(task, report)
    recipes = _check_variants(task, report)
    if task.output_schema.get("additionalProperties") is not False:
        report.warnings.append(f"{task.file}: io_schema.output: extra keys are allowed; set additionalProperties: false to forbid them")
    report.warnings += _unenforced(task)
    _measure_prompt(task, report)
    with tempfile.TemporaryDirectory(prefix="pp-check-") as folder:
        out = Path(folder)
        try:
            build_dataset(task, out)
        except UserError as error:
            report.problems.append(str(error))
            return report
        report.summary = json.loads((out / REPORT).read_text("utf-8"))
        report.warnings += report.summary["warnings"]
        with (out / QUARANTINE).open("rb") as lines:
            report.quarantine = [json.loads(line) for line in islice(lines, SHOWN_LINES)]
        _try_variants(task, report, recipes, out)
    return report


def _check_bases(task: Task, report: CheckReport) -> None:
    from pp_resources.models.bases import find_base

    for name in ("base_model_id", "encoder_model_id"):
        _collect(report, f"{task.file}: {name}", lambda name=name: find_base(getattr(task.spec, name)))  # type: ignore[misc]


def _check_metrics(task: Task, report: CheckReport) -> None:
    from pp_assets.evaluation.scoring import check_primary, metric_names
    from pp_assets.evaluation.validity import VALIDITY

    known = [*metric_names(task.output_schema), *VALIDITY]
    _collect(report, str(task.file), lambda: check_primary(task.spec))
    for i, gate in enumerate(task.spec.gates):
        if gate.metric not in known:
            where = f"{task.file}: gates.{i}.metric"
            report.problems.append(str(UserError(f"unknown metric {gate.metric!r}", where=where, how=nearest(gate.metric, known))))


def _check_searches(task: Task, report: CheckReport) -> None:
    """The models that the flywheel would search prompts with."""
    from pp_assets.prompts.search.parts import check_models
    from pp_resources.settings import Settings

    if asked := task.spec.flywheel.prompts if task.spec.flywheel else None:
        where = f"{task.file}: flywheel.prompts"
        _collect(report, where, lambda: check_models(asked.target, asked.writer, task, Settings.from_env(), ask=False))


def _check_variants(task: Task, report: CheckReport) -> list[Any]:
    from pp_assets.ensembles import with_members
    from pp_assets.training.overrides import check_params, recipe_of
    from pp_assets.training.recipes import EVERYWHERE, RECIPES

    for i, name in enumerate(task.spec.variants):
        if name not in RECIPES:
            where = f"{task.file}: variants.{i}"
            report.problems.append(str(UserError(f"unknown variant {name!r}", where=where, how=nearest(name, RECIPES))))
    found = [RECIPES[name] for name in task.spec.variants if name in RECIPES]
    try:
        check_params(task)
        for recipe in found:
            if recipe.family == "ensemble":
                with_members(task, recipe_of(task, recipe.name))
    except UserError as error:
        report.problems.append(str(error))
    for recipe in found:
        if recipe.family == "causal" and recipe.runs_in != EVERYWHERE:
            report.warnings.append(f"{task.file}: variants: adapters of {recipe.name} run in {', '.join(recipe.runs_in)} only")
    return found


def _measure_prompt(task: Task, report: CheckReport) -> None:
    """What can be said of the prompt without a model; a rule on it that is broken is a warning, since a run says so too."""
    from pp_assets.evaluation.rules import broken_by_prompt
    from pp_assets.prompts.quality import quality_lines
    from pp_assets.validation import quality_of

    try:
        found = quality_of(task.spec)
    except UserError:
        return  # there is no such base model, which is a problem of its own
    report.prompt, report.prompt_lines = found.as_dict(), quality_lines(found)
    broken = broken_by_prompt(task.spec.validation_rules, report.prompt)
    report.warnings += [f"{task.file}: validation_rules: {text}" for text in broken]


def _unenforced(task: Task) -> list[str]:
    from pp_resources.models.causal_grammar import unenforced

    return [f"{task.file}: io_schema.output: constrained decoding cannot enforce {what}" for what in unenforced(task.output_schema)]


def _try_variants(task: Task, report: CheckReport, recipes: list[Any], dataset: Path) -> None:
    from pp_assets.training.recipes import check_variant

    rows = (example for split in ("train", "val") for batch in iter_split(dataset, split) for example in batch)
    examples: list[Example] = list(islice(rows, EXAMPLES_FOR_VARIANTS))
    for recipe in recipes:
        found = check_variant(recipe, task.output_schema, examples)
        report.problems += [f"{task.file}: variants: {recipe.name}: {problem}" for problem in found]


def _collect(report: CheckReport, where: str, call: Callable[[], object]) -> None:
    try:
        call()
    except UserError as error:
        report.problems.append(f"{where}: {error}")
