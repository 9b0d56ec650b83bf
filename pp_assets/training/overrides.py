"""The hyper-parameters that a task sets for itself: `params` in its spec, over those of the recipe."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, get_type_hints

from pydantic import TypeAdapter, ValidationError

from pp_assets.task.spec import Task
from pp_assets.training.recipes import Recipe, get_recipe
from pp_resources.errors import UserError, nearest


def recipe_of(task: Task, variant: str) -> Recipe:
    """The recipe of a variant with what the task says. Raises UserError naming the parameter that is unknown or cannot have this value."""
    found = task.spec.params.get(variant, {})
    recipe = get_recipe(variant, where=f"{task.file}: params" if found else f"{task.name}: variant")
    return with_params(recipe, found, f"{task.file}: params.{variant}")


def with_params(recipe: Recipe, values: Mapping[str, Any], where: str) -> Recipe:
    """The recipe with other values of some parameters."""
    known = get_type_hints(type(recipe.params))
    for name, value in values.items():
        if name not in known:
            raise UserError(f"unknown parameter {name!r} of {recipe.name}", where=where, how=nearest(name, known))
        how = f"the recipe has {getattr(recipe.params, name)!r}"
        try:
            TypeAdapter(known[name]).validate_python(value, strict=True)
        except ValidationError as error:
            raise UserError(f"{name} is {value!r}: {error.errors()[0]['msg']}", where=where, how=how) from error
        if isinstance(value, int | float) and not _possible(known[name], name, value):
            raise UserError(f"{name} cannot be {value!r}", where=where, how=how)
    return replace(recipe, params=replace(recipe.params, **values))


def check_params(task: Task) -> None:
    """Raise UserError for the first entry of `params` that no recipe takes."""
    for variant in task.spec.params:
        recipe_of(task, variant)


def _possible(kind: Any, name: str, value: float) -> bool:
    # Counts start at 1, but a rank of 0 freezes an encoder; rates and shares are not negative.
    return math.isfinite(value) and value >= (1 if kind is int and name != "r" else 0)
