"""Answers that are stored somewhere, by what a person calls them: TASK/VARIANT, TASK/BASELINE, a package folder, a predictions file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.evaluation.predictions import SUFFIX, SYSTEMS, PredictionRow, read_predictions
from pp_assets.pipeline import BASELINES, EVALUATIONS, PACKAGES, read_json
from pp_resources.artifacts import MANIFEST, SLUG, Artifact
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline


@dataclass(frozen=True)
class StoredAnswers:
    """One system's answers: what it was called, its rows, the task by name (None: a file does not say) and, from a package, its spec."""

    name: str
    rows: list[PredictionRow]
    task: str | None
    spec: Any = None


def find_answers(p: "Pipeline", named: str) -> StoredAnswers:
    """The answers that `named` means. Raises UserError with the nearest name, or naming the file that cannot be read."""
    path = Path(named).expanduser()
    if named.endswith(SUFFIX):
        if not path.is_file():
            raise UserError("no such file", where=named, how=f"give a file of predictions ({SUFFIX}), or TASK/VARIANT")
        return StoredAnswers(named, read_predictions(path), *_origin(path.resolve().parent.parent))
    if (path / MANIFEST).is_file():
        return _packaged(named, path.resolve())
    task, _, system = named.partition("/")
    if not SLUG.match(task) or not SLUG.match(system):
        raise UserError(f"{named!r} is no system", where="SYSTEM", how=f"give TASK/VARIANT, TASK/BASELINE, a package or a *{SUFFIX} file")
    p.task(task)
    places = stored_systems(p, task)
    if system not in places:
        how = nearest(system, places) if places else f"make some with 'pp run {task}'"
        raise UserError(f"no stored answers of {system!r} to the test items of {task}", where=named, how=how)
    return StoredAnswers(named, read_predictions(places[system].file("predictions") / f"{system}{SUFFIX}"), task)


def stored_systems(p: "Pipeline", task: str) -> dict[str, Artifact]:
    """Every system of a task with stored answers, and the artifact that holds them: its baselines, its evaluated variants."""
    base = p.store.current(BASELINES, task)
    found = {entry["name"]: base for entry in read_json(base.file("predictions") / SYSTEMS)} if base else {}
    for key in p.store.keys(EVALUATIONS):
        owner, _, variant = key.partition("/")
        if owner == task and (report := p.store.current(EVALUATIONS, key)):
            found[variant] = report
    return found


def _packaged(named: str, folder: Path) -> StoredAnswers:
    """The candidate of a package; files are read as those of a stranger."""
    from pp_assets.packaging.layout import SPEC, read_all_systems, read_manifest, read_object
    from pp_assets.task.spec import parse_spec

    read_manifest(folder)
    spec = parse_spec(read_object(folder / SPEC), SPEC)
    candidates = [system for system in read_all_systems(folder) if system["kind"] == "candidate"]
    if len(candidates) != 1:
        raise UserError(f"holds {len(candidates)} candidates", where=named, how="give the predictions file of one of its systems")
    return StoredAnswers(named, candidates[0]["rows"], spec.name, spec)


def _origin(folder: Path) -> tuple[str | None, Any]:
    """Task and spec of the artifact that a predictions file lies in; none where it lies by itself."""
    if not (folder / MANIFEST).is_file():
        return None, None
    manifest = read_json(folder / MANIFEST)
    if manifest.get("kind") == PACKAGES:
        from pp_assets.packaging.layout import SPEC, read_object
        from pp_assets.task.spec import parse_spec

        spec = parse_spec(read_object(folder / SPEC), SPEC)
        return spec.name, spec
    known = manifest.get("kind") in (EVALUATIONS, BASELINES)
    return (str(manifest["key"]).partition("/")[0] if known else None), None
