"""Which model stands behind a variant's name: what is said of one is not said of another that takes its name.

The gateway tells it in every row, the account of weights begins anew when it changes.
"""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from pp_assets.champion import read_champion, stored
from pp_assets.pipeline import DATASETS, PACKAGES, answering_spec
from pp_assets.serving.local import worded
from pp_assets.serving.spec import FewShot, Package, Variant, parts_of
from pp_assets.task.spec import Task
from pp_resources.artifacts import Artifact, ArtifactStore
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest

# What changes how a model is asked and what it costs, not what it answers.
_PLUMBING = {"cost", "key_env", "price_in", "price_out", "timeouts", "retries", "breaker", "most_at_once"}


def package_of(artifacts: ArtifactStore, task: Task, variant: Package) -> Artifact:
    """The package that a variant stands for: the champion's where that is asked for, a flywheel renews it or the newest was taken back,
    else the newest of its recipe. Raises UserError where there is none."""
    how, stands = f"run 'pp run {task.name}'", read_champion(artifacts.root, task.name)
    if variant.stage == "champion":
        if stands is None:
            raise UserError("there is no champion yet", where=f"task {task.name}", how=how)
        return stored(Path(stands.package), task.name)
    found = artifacts.require(PACKAGES, f"{task.name}/{variant.recipe}", how)
    if stands and variant.stage is None and variant.recipe == stands.variant and (renewed(task) or found.digest in stands.refused):
        return stored(Path(stands.package), task.name)
    return found


def packaged(artifacts: ArtifactStore, task: Task) -> dict[str, Variant]:
    """The newest package of every recipe, those that the task declares first: what is served where no variant is named."""
    there = [key.partition("/")[2] for key in artifacts.keys(PACKAGES) if key.partition("/")[0] == task.name]
    ordered = sorted(there, key=lambda name: (name not in task.spec.variants, name if name not in task.spec.variants else ""))
    return {name: Package(kind="package", recipe=name) for name in ordered}


def renewed(task: Task) -> bool:
    """Whether the task's flywheel says which package answers."""
    return task.spec.flywheel is not None and task.spec.flywheel.enabled


def model_of(package: Artifact) -> str:
    """The adapter that a package carries: one that was only evaluated or written down anew is the same model."""
    return package.inputs.get("adapter") or package.digest


def versions(task: Task, variants: Mapping[str, Variant], packages: Mapping[str, str], dataset: str) -> dict[str, str]:
    """By variant a digest of all that its answers depend on, but for examples that grow. `packages` are models by variant (`model_of`),
    `dataset` the digest of the rows that few-shot prompts are made of."""
    found: dict[str, str] = {}
    for name in sorted(variants, key=lambda one: bool(parts_of(variants[one]))):
        variant = variants[name]
        said = variant.model_dump(mode="json", exclude=_PLUMBING)
        made: object = answering_spec(worded(task.spec, variant)) if hasattr(variant, "instruction_template") else ""
        if isinstance(variant, Package):
            made = packages.get(name, "")
        elif isinstance(variant, FewShot):
            made = [made, dataset]
        source = variants.get(str(getattr(variant, "of", "")))
        parts = [found[part] for part in parts_of(variant)]
        asked = source.model_dump(mode="json", exclude=_PLUMBING) if source else None
        found[name] = digest([said, made, parts, asked], ordered=True)[:16]
    return found


def installed(task: Task, artifacts: ArtifactStore) -> dict[str, str]:
    """The versions of the variants that a task names, or else of those that it routes to, as an installation has them now."""
    serving = task.spec.serving
    if serving is None:
        return {}
    routed = [*(serving.routing.variants if serving.routing else []), *serving.fallbacks]
    variants: dict[str, Variant] = dict(serving.variants) or {name: Package(kind="package", recipe=name) for name in routed}
    packages = {}
    for name, variant in variants.items():
        if isinstance(variant, Package):
            with suppress(UserError):  # not there yet
                packages[name] = model_of(package_of(artifacts, task, variant))
    return versions(task, variants, packages, dataset_of(artifacts, task.name))


def dataset_of(artifacts: ArtifactStore, task: str) -> str:
    """The digest of a task's data set, "" before there is one."""
    found = artifacts.current(DATASETS, task)
    return found.digest if found else ""
