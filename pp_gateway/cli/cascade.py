"""`pp cascade`: when a cheap variant is sure enough, so that a better one need not be asked."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError


def cascade(
    task: TaskArgument,
    cheap: Annotated[str | None, typer.Option(help="The served variant that is asked first. Default: that of the task's cascade.")] = None,
    better: Annotated[str | None, typer.Option(help="The one that is asked where the first is not sure.")] = None,
    tolerance: Annotated[float, typer.Option(min=0.001, max=0.5, help="Share of right answers that may be lost by it.")] = 0.02,
    delta: Annotated[float, typer.Option(min=0.001, max=0.5, help="Chance of being wrong about that.")] = 0.05,
    to: Annotated[Path | None, typer.Option(help="Write all that was tried to this file, as JSON.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Find the confidence below which a cascade asks its better variant, on the validation rows. Where none is proven it says so.

    Both variants answer every row once; another tolerance costs no more answers. Costs are those of `serving`; where one is unknown, what
    counts is how often the better variant is asked.

    Examples:

        pp cascade support-triage --cheap small --better big

        pp cascade support-triage --tolerance 0.05 --json
    """
    from pp_assets.serving.thresholds import fit_steps
    from pp_gateway.cli.stages import watching
    from pp_gateway.serve.asking import hear
    from pp_resources.artifacts import write_atomic

    settings, name = settle(task)
    variant, steps = _steps(settings, name, cheap, better)
    with watching("cascade"):
        heard = hear(settings, name, steps)
    known = [[cost for cost in costs if cost is not None] for costs in heard.costs]
    priced = all(len(costs) == len(heard.rows) for costs in known)
    costs = (known[0], known[1]) if priced else ([0.0] * len(heard.rows), [1.0] * len(heard.rows))
    first, second = heard.said
    found = fit_steps(heard.task, heard.rows, first, second, costs, tolerance=tolerance, delta=delta)
    told = {"task": name, "steps": steps, "cost_in": "USD" if priced else "answers of the better", **found.plain()}
    if to is not None:
        write_atomic(to, json.dumps(told, indent=1) + "\n")
    if Output(as_json).result(told):
        return
    line(f"{name}: {steps[0]}, then {steps[1]}: {found.reason}")
    for what, one in (("right", found.quality), (f"right, {steps[0]} alone", found.cheap), (f"right, {steps[1]} alone", found.better)):
        line(f"  {what:<28} {interval(one.value, one.low, one.high)} of {one.n}")
    unit = "US dollars an answer" if priced else f"asked of {steps[1]} (no price in serving)"
    line(f"  {unit:<28} {interval(found.cost.value, found.cost.low, found.cost.high)}, {steps[1]} alone {found.cost_better.value:.4g}")
    if found.threshold is not None:
        made = f"{{kind: cascade, steps: [{steps[0]}, {steps[1]}], threshold: {found.threshold:.6g}}}"
        line(f"in task.yaml:  serving: {{variants: {{{variant}: {made}}}}}")


def _steps(settings: Any, name: str, cheap: str | None, better: str | None) -> tuple[str, tuple[str, str]]:
    """(name of the cascade, its two steps): those that are given, else those of the only cascade of the task."""
    from pp_assets.serving.spec import Cascade, Serving
    from pp_assets.task.spec import load_task

    if (cheap is None) != (better is None) or (cheap is not None and cheap == better):
        raise UserError("a cascade has two variants", where="command line", how="give --cheap and --better, two different ones, or neither")
    variants = (load_task(name, settings.tasks).spec.serving or Serving()).variants
    made = {one: variant for one, variant in variants.items() if isinstance(variant, Cascade)}
    if cheap is not None and better is not None:
        same = (one for one, variant in made.items() if variant.steps == [cheap, better])
        return next(same, "surely"), (cheap, better)
    if len(made) != 1:
        raise UserError(f"task {name} has {len(made)} cascades", where="serving.variants", how="give --cheap and --better")
    ((one, variant),) = made.items()
    if len(variant.steps) != 2:
        raise UserError(
            f"has {len(variant.steps)} steps", where=f"serving.variants.{one}", how="give two of them with --cheap and --better at a time"
        )
    return one, (variant.steps[0], variant.steps[1])
