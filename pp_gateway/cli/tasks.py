"""Which task an argument means: a name in the tasks folder, or a path to a task folder or file; and a task with another seed."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pp_resources.errors import UserError
from pp_resources.settings import Settings

if TYPE_CHECKING:
    from pp_resources.store.opened import Store

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Name of a task, or the path of its folder.")]
VariantOption = Annotated[str, typer.Option("--variant", "-v", help="Name of a variant, such as encoder-lora.")]


def settle(task: str, *, seed: int | None = None) -> tuple[Settings, str]:
    """Settings whose tasks folder holds the task, and its name. Raises UserError for a task that cannot be loaded."""
    from pp_assets.task.spec import load_task

    settings = Settings.from_env()
    found = load_task(task, settings.tasks)
    settings = replace(settings, tasks=found.file.parent.parent.resolve())
    name = load_task(found.folder.resolve().name, settings.tasks).name
    return (settings if seed is None else replace(settings, tasks=with_seed(settings, name, seed))), name


def store_here() -> "Store":
    """The store of the installation."""
    from pp_resources.store.opened import open_store

    settings = Settings.from_env()
    return open_store(settings.home, settings.store_url)


def check_variants(variants: list[str]) -> None:
    """Raise UserError for a name that is no variant, before anything is registered under it."""
    from pp_assets.training.recipes import get_recipe

    for variant in variants:
        get_recipe(variant, where="--variant")


def with_seed(settings: Settings, name: str, seed: int) -> Path:
    """A tasks folder under the home folder with this one task, equal but for its seed; data files are links to the task's own.

    A task with another seed is another version of the task, so everything that is made from it is kept apart by its digest.
    """
    import json

    from pp_assets.task.spec import load_task, named_data_files, parse_spec
    from pp_resources.artifacts import write_atomic

    task = load_task(name, settings.tasks)
    spec = parse_spec(task.spec.model_dump(mode="json") | {"seed": seed}, "--seed")
    tasks = settings.home / "seeded" / str(seed)
    folder = tasks / name
    for (file, _), (named, _) in zip(task.data_files(), named_data_files(task.spec), strict=True):
        if Path(named).expanduser().is_absolute():
            continue
        if ".." in Path(named).parts:
            where, how = f"{task.file}: data", "--seed needs the file inside, or an absolute path"
            raise UserError(f"{named!r} is outside of the task's folder", where=where, how=how)
        link = folder / named
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(file.resolve())
    write_atomic(folder / "task.json", json.dumps(spec.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
    return tasks
