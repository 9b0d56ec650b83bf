"""What can be wrong with one step: keys of other modes, unknown metrics, scenarios, strategies, schemas, output files, prompts."""

from collections.abc import Iterable
from pathlib import PurePosixPath

from pp_assets.workflows import keys
from pp_assets.workflows.components import Component, Text
from pp_assets.workflows.grammar import PromptPart, Step
from pp_assets.workflows.loading import Loaded, component_text
from pp_assets.workflows.schemas import faults
from pp_resources.errors import UserError, nearest

PART_NEEDS = {"static": "content", "variable": "name", "file": "path", "component": "id"}


def check_step(loaded: Loaded, index: int, step: Step, mode: str, component: Component | None) -> None:
    """Add to `loaded.problems` all that is wrong with a step of this mode by itself."""
    allowed = keys.COMMON | keys.KEYS[mode]
    for key in sorted(set(keys.written(step)) - allowed):
        goes = [other for other, those in keys.KEYS.items() if key in those]
        loaded.problem(
            loaded.line(index, key),
            f"step {step.name!r}: {key!r} is not for type {step.type!r} ({mode})",
            f"it goes with {', '.join(goes)}",
        )
    needed = keys.NEEDS.get(mode)
    if needed and needed not in keys.written(step):
        loaded.problem(loaded.line(index, "name"), f"step {step.name!r}: {needed!r} is missing for type {step.type!r}")
    own = (component.metrics if component else {}) or None
    metrics = [m for some in own.values() for m in some] if own else [*keys.METRICS, *step.batch_config.scorers]
    _known(
        loaded,
        index,
        "metric",
        step.batch_config.metrics if "batch_config" in keys.written(step) else (),
        metrics,
        "batch_config",
        "metrics",
    )
    _known(loaded, index, "error scenario", step.error_scenarios, keys.SCENARIOS, "error_scenarios")
    _known(loaded, index, "augmentation strategy", step.augmentation_strategies, keys.STRATEGIES, "augmentation_strategies")
    _schemas(loaded, index, step)
    _scorers(loaded, index, step)
    _output(loaded, index, step)


def prompt_of(loaded: Loaded, index: int, step: Step) -> tuple[Text, ...]:
    """The one prompt of a step: templates that follow each other, each on lines of its own."""
    given = [key for key in ("prompt", "prompt_parts", "prompt_template") if key in keys.written(step)]
    if len(given) > 1:
        loaded.problem(loaded.line(index, given[1]), f"step {step.name!r} has {given[0]} and {given[1]}", "keep one")
    texts = [_part(loaded, index, i, part) for i, part in enumerate(step.prompt_parts)]
    for key in ("prompt", "prompt_template"):
        value = getattr(step, key)
        texts += [component_text(loaded, value, index, key)] if value is not None else []
    return tuple(text for text in texts if text)


def _part(loaded: Loaded, index: int, i: int, part: PromptPart) -> Text | None:
    where = (index, "prompt_parts", i)
    needed = PART_NEEDS.get(part.type)
    if needed and getattr(part, needed) is None:
        loaded.problem(loaded.line(*where), f"a {part.type} part has no {needed!r}")
        return None
    if part.type == "static":
        return loaded.text(part.content or "", *where, "content")
    if part.type == "variable":
        return loaded.text(f"{{{part.name}}}", *where, "name")
    if part.type == "component":
        found = loaded.shelf.find(part.id or "", "prompt")
        if found is None:
            loaded.problem(loaded.line(*where, "id"), *loaded.shelf.missing(part.id or "", "prompt"))
        return found.template if found else None
    if part.type == "file":
        file = loaded.file.parent / (part.path or "")
        try:
            return Text(file.read_text("utf-8").replace("{", "{{").replace("}", "}}"), file, 1)
        except (OSError, UnicodeDecodeError) as error:
            known = [p.name for p in file.parent.iterdir()] if file.parent.is_dir() else []
            what = "there is no file" if isinstance(error, FileNotFoundError) else "cannot read"
            loaded.problem(loaded.line(*where, "path"), f"{what} {part.path!r}", nearest(file.name, known))
            return None
    before = loaded.named[index - 1] if index else None
    step = part.step or before
    if step is None:
        loaded.problem(loaded.line(*where), "there is no step before the first one")
        return None
    return loaded.text(f"{{{step}.{part.field}}}" if part.field else f"{{{step}}}", *where, "step")


def _known(loaded: Loaded, index: int, what: str, given: Iterable[str], known: Iterable[str], *where: str) -> None:
    for i, name in enumerate(given):
        if name not in set(known):
            loaded.problem(loaded.line(index, *where, i), f"unknown {what} {name!r}", nearest(name, known))


def _schemas(loaded: Loaded, index: int, step: Step) -> None:
    places = [(step.output_schema, ("output_schema",)), (step.options.form, ("options", "schema"))]
    places += [(step.session_config.form, ("session_config", "schema"))] if step.session_config else []
    for given, where in places:
        for place, what, how in faults(given, where) if given is not None else ():
            loaded.problem(loaded.line(index, *place), f"step {step.name!r}: {what}", how)


def _scorers(loaded: Loaded, index: int, step: Step) -> None:
    from pp_assets.task.contract.spec import resolve_scorer

    for name, call in step.batch_config.scorers.items():
        try:
            resolve_scorer(call)
        except (ImportError, AttributeError, ValueError, UserError) as error:
            line = loaded.line(index, "batch_config", "scorers", name)
            loaded.problem(line, f"the scorer {call!r} cannot be imported ({error})", "name module:function of an installed package")


def _output(loaded: Loaded, index: int, step: Step) -> None:
    name = step.output_file
    if name is None:
        return
    path, line = PurePosixPath(name), loaded.line(index, "output_file")
    if path.is_absolute() or ".." in path.parts or "\\" in name or "{" in name or not path.name:
        loaded.problem(
            line, f"output_file {name!r} does not stay in workspace_dir", "give a path inside it, without '..' and names in braces"
        )
    first = next(i for i, other in loaded.steps if other.output_file == name)
    if first != index:
        loaded.problem(line, f"output_file {name!r} is written by another step too", f"see line {loaded.line(first, 'output_file')}")
