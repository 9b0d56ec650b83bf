"""The end of a run: what each variant achieved, beside the best baseline, with everything that a reader needs to doubt it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pp_gateway.cli.output import console, interval, line, number, p_value, signed, table

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

_COPIED = ("metric", "value", "value_low", "value_high", "n", "best_baseline", "best_baseline_value", "effect", "low", "high", "p_value")
HEAD = ("task", "variant", "metric", "value [95 % interval]", "n", "best baseline", "effect [95 % interval]", "p", "mde", "verdict")
# The same for a narrow window: two lines a variant, one under the other.
NARROW_HEAD = ("task\nvariant", "value, n\n[95 % interval]", "best\nbaseline", "effect\n[95 % interval]", "p\nmde", "verdict")
FOLDED = ("best\nbaseline", "verdict")
WIDE = 165


def result_of(pipeline: "Pipeline", task: str, variant: str) -> dict[str, Any]:
    """Numbers of the current report and the paths of report and package. Raises UserError when there is none yet."""
    from pp_assets.pipeline import EVALUATIONS, PACKAGES

    report = pipeline.current(EVALUATIONS, f"{task}/{variant}")
    packed = pipeline.current(PACKAGES, f"{task}/{variant}")
    said = report.metadata
    return {
        "task": task,
        "variant": variant,
        **{name: said[name] for name in _COPIED},
        "smallest_detectable_effect": said["detectable"],
        "verdict": said["verdict"],
        "reasons": list(said["reasons"]),
        "rules_broken": list(said.get("rules_broken", ())),
        "report": str(report.file("eval_report.html")),
        "package": str(packed.path),
    }


def show_results(results: Sequence[dict[str, Any]]) -> None:
    """The table, a sentence for each verdict, and each package's path on a line of its own."""
    rows = [_row(result) for result in results]
    if console().width >= WIDE:
        table(HEAD, rows, right=("n", "p", "mde"), whole=HEAD)
    else:
        table(NARROW_HEAD, [_narrow(row) for row in rows], whole=[name for name in NARROW_HEAD if name not in FOLDED])
        line(f"value: {', '.join(sorted({result['metric'] for result in results}))}")
    line("mde: the minimum detectable effect, the smallest that this many test items could have shown with 80 % power")
    for result in results:
        line(f"{result['task']}/{result['variant']}: {result['verdict']}: {result['reasons'][0]}")
        for broken in result["rules_broken"]:
            line(f"  {broken}")
    line()
    for result in results:
        line(f"report   {result['report']}")
        line(f"package  {result['package']}")


def _row(result: dict[str, Any]) -> tuple[str, ...]:
    baseline = "none"
    if result["best_baseline"]:
        baseline = f"{result['best_baseline']} {number(result['best_baseline_value'])}"
    return (
        result["task"],
        result["variant"],
        result["metric"],
        interval(result["value"], result["value_low"], result["value_high"]),
        str(result["n"]),
        baseline,
        f"{signed(result['effect'])} [{signed(result['low'])}, {signed(result['high'])}]",
        p_value(result["p_value"]),
        number(result["smallest_detectable_effect"]),
        result["verdict"],
    )


def _narrow(row: tuple[str, ...]) -> tuple[str, ...]:
    task, variant, _, value, n, baseline, effect, p, detectable, verdict = row
    value, effect = value.replace(" [", f", {n}\n[", 1), effect.replace(" [", "\n[", 1)
    return f"{task}\n{variant}", value, baseline.replace(" ", "\n"), effect, f"{p}\n{detectable}", verdict
