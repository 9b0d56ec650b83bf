"""The results of an experiment as a run of the tracker: what was varied, every number with its interval, the comparisons, the page."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pp_assets.experiment.page import compare_dims, write_page
from pp_resources.artifacts import SLUG
from pp_resources.errors import UserError
from pp_resources.tracker import Tracker

if TYPE_CHECKING:
    from pp_assets.experiment.comparison import Many
    from pp_assets.experiment.results import Results

STAGE = "experiment"
_WORD = re.compile(r"\w[\w. -]{0,39}")


def log_results(results: "Results", tracker: Tracker, task: str, name: str, title: str, margin: float) -> str | None:
    """See `Results.log`."""
    for what, word in (("name", name), ("task", task)):
        if not SLUG.match(word):
            raise UserError(f"{word!r} is not a name", where=f"log: {what}", how="use lower-case letters, digits, '.', '_' and '-'")
    with tempfile.TemporaryDirectory() as made, tracker.run(task, name, STAGE) as run:
        if not run.where:
            return None
        out, compared = Path(made), compare_dims(results)
        run.params(_params(results))
        run.summary(_numbers(results))
        run.table("comparisons", _comparisons(compared, margin))
        run.table("summary", [line for metric in results.metrics for line in _plain(results, metric)])
        (out / "plots").mkdir()
        for dim, found in compared.items():
            for place, each in enumerate(found.each, 1):
                each.plot(out / "plots" / f"{each.metric}.{dim}.{place}.png".replace("/", "_"))
        run.file(write_page(results, out / "experiment.html", title, margin=margin, compared=compared))
        run.file(out / "plots", "plots")
        return tracker.url(run.where)


def _params(results: "Results") -> dict[str, Any]:
    index = results.df.index
    counts = {"items": index.get_level_values(results.key).nunique(), "rows": len(index), "trials": len(index.unique("trial"))}
    dims = {dim: {str(place): str(value) for place, value in enumerate(values, 1)} for dim, values in results.dims.items()}
    return {**counts, "dims": dims, "code": results.codes}


def _numbers(results: "Results") -> dict[str, Any]:
    """By name: metric/values of the dimensions/statistic; what was called, left, spent and failed."""
    words = {dim: _words(dim, values) for dim, values in results.dims.items()}
    found: dict[str, Any] = {}
    for metric in results.metrics:
        for line in _plain(results, metric):
            where = [words[dim][line[dim]] for dim in words if dim in line]
            numbers = {k: line[k] for k in ("mean", "low", "high", "n_items", "n_trials")}
            found |= {"/".join([metric, *where, name]): value for name, value in numbers.items()}
    calls = {f"calls/{step}": count for step, count in results.computed.items()}
    return {**found, **calls, "left": sum(results.left.values()), "failed": len(results.errors), "spent_usd": results.spent_usd}


def _words(dim: str, values: Sequence[Any]) -> dict[Any, str]:
    """Each value as a part of a metric's name: itself where it is a short word, else its number (prompts, 1 beside "1")."""
    short = [str(value) for value in values]
    numbered = len(set(short)) < len(short) or not all(map(_WORD.fullmatch, short))
    return {value: f"{dim} {place}" if numbered else word for place, (value, word) in enumerate(zip(values, short), 1)}


def _plain(results: "Results", metric: str) -> list[dict[str, Any]]:
    return [_without_nan({**line, "metric": metric}) for line in results.summary(metric).reset_index().to_dict("records")]


def _comparisons(compared: "Mapping[str, Many]", margin: float) -> list[dict[str, Any]]:
    rows = []
    for dim, found in compared.items():
        for each, line in zip(found.each, found.df.to_dict("records")):
            sides = {"dimension": dim, "a": str(each.a), "b": str(each.b), "verdict": each.verdict(margin)}
            rows.append(_without_nan({**line, **sides}))
    return rows


def _without_nan(line: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name): None if isinstance(value, float) and value != value else value for name, value in line.items()}
