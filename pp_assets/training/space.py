"""What a hyper-parameter search may change in a recipe, and within which bounds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pp_assets.training.params import EncoderParams, EnsembleParams
from pp_assets.training.recipes import Recipe
from pp_resources.errors import UserError

RATIO = "alpha_ratio"  # alpha / r: how strongly an adapter acts, whatever its rank


@dataclass(frozen=True)
class Range:
    """Any number from `low` to `high`, drawn evenly on a logarithmic scale."""

    low: float
    high: float


Space = Mapping[str, Range | tuple[Any, ...]]
"""By name of a parameter (or RATIO): a range, or the values to choose from."""

_HEADS: Space = {
    "head_lr": Range(3e-4, 1e-2),
    "head_dropout": (0.0, 0.1, 0.3),
    "label_smoothing": (0.0, 0.05, 0.1),
    "epochs": (8, 12, 20, 40),
}
_ENCODER: Space = {"lr": Range(3e-4, 6e-3), "r": (4, 8, 16, 32), "dropout": (0.0, 0.1), **_HEADS}
# Causal recipes are named for their rank, which therefore stays.
_CAUSAL: Space = {"lr": Range(5e-4, 1.2e-2), "epochs": (4, 6, 10), "batch_size": (8, 16, 32)}


def space_of(recipe: Recipe) -> Space:
    """The search space of a recipe. An encoder that stays frozen has only heads to tune. Raises UserError for an ensemble."""
    if isinstance(recipe.params, EnsembleParams):
        raise UserError(f"{recipe.name} has nothing to tune", where="--variant", how="tune its members")
    if not recipe.trained.r:
        return _HEADS
    own = recipe.trained.alpha / recipe.trained.r
    return {RATIO: (own / 2, own, own * 2), **(_ENCODER if isinstance(recipe.params, EncoderParams) else _CAUSAL)}


def start_of(recipe: Recipe, space: Space) -> dict[str, Any]:
    """The recipe's own point in the space."""
    return {name: recipe.trained.alpha / recipe.trained.r if name == RATIO else getattr(recipe.params, name) for name in space}


def as_params(recipe: Recipe, point: Mapping[str, Any]) -> dict[str, Any]:
    """A point of the space as parameters of the recipe. Rates have three digits: more would pretend a precision that no search has."""
    found = {name: float(f"{value:.2e}") if isinstance(value, float) else value for name, value in point.items() if name != RATIO}
    return found | ({"alpha": round(point[RATIO] * point.get("r", recipe.trained.r))} if RATIO in point else {})
