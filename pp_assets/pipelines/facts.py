"""What steps of several pipelines tell alike: figures from metrics and comparisons, the variant that is meant, verdicts in colours."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pp_assets import pipeline as stages
from pp_assets.pipelines.report import Figure, Kind
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

KIND_OF: Mapping[str, Kind] = {"SHIP": "ship", "PASS": "ship", "SAME": "ship", "FAIL": "stop", "DO NOT SHIP": "stop"}


def trained_variant(p: "Pipeline", name: str, variant: str | None) -> str:
    """The variant that is given, or the champion, or the first of the task that is trained. Raises UserError where none is."""
    from pp_assets.champion import read_champion
    from pp_assets.training.recipes import get_recipe

    if variant is not None:
        return get_recipe(variant, "variant").name
    there = [key.partition("/")[2] for key in p.store.keys(stages.ADAPTERS) if key.startswith(f"{name}/")]
    stands = read_champion(p.settings.home, name)
    if stands and stands.variant in there:
        return stands.variant
    ordered = [one for one in p.task(name).spec.variants if one in there] or there
    if not ordered:
        raise UserError("no variant is trained", where=f"task {name}", how=f"run 'pp run {name}'")
    return ordered[0]


def metric_figure(name: str, metric: Mapping[str, Any], prefix: str = "", unit: str = "") -> Figure:
    """A figure from plain values with `value`, `low`, `high` (or with a prefix: value_low), `n` and perhaps `reason`."""
    low, high = (metric.get(f"{prefix}{end}") for end in ("low", "high"))
    return Figure(name, metric.get("value"), low, high, metric.get("n"), unit, str(metric.get("reason") or ""))


def effect_figure(name: str, comparison: Mapping[str, Any]) -> Figure:
    """The effect of a paired comparison."""
    effect, low, high, n = (comparison.get(key) for key in ("effect", "low", "high", "n"))
    return Figure(name, effect, low, high, n, reason=str(comparison.get("reason") or ""))


def evaluation_figures(metadata: Mapping[str, Any]) -> list[Figure]:
    """The value and the gain that an evaluation tells."""
    found = [metric_figure(metadata["metric"], metadata, "value_")]
    if metadata["best_baseline"]:
        found.append(effect_figure(f"gain over {metadata['best_baseline']}", metadata))
    return found


def kind_of(verdict: str) -> Kind:
    """The colour of a verdict or an outcome; what is not known is not decided."""
    return KIND_OF.get(verdict, "wait")


def listed(words: Sequence[str], most: int = 6) -> str:
    """Words as a list, shortened; "none" for none."""
    more = f" and {len(words) - most} more" if len(words) > most else ""
    return ", ".join(words[:most]) + more if words else "none"


def counted(count: int, what: str, many: str = "") -> str:
    """A number of things in words."""
    return f"{count:,} {what if count == 1 else many or f'{what}s'}"
