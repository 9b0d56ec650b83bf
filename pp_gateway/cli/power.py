"""`pp power`: how many test items it takes, before anything is trained."""

from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.tasks import TaskArgument, settle

Share = Annotated[float | None, typer.Option(min=0.0, max=1.0, help="Share of items that just one system has right. Default: as observed.")]


def power(
    task: TaskArgument,
    effect: Annotated[list[float] | None, typer.Option(help="A difference to show, such as 0.05; may be repeated.")] = None,
    discordance: Share = None,
    icc: Annotated[float | None, typer.Option(min=0.0, max=1.0, help="How alike items of a group are. Default: as observed.")] = None,
    trials: Annotated[int, typer.Option(min=1, help="Answers to each item, of models that sample.")] = 1,
    between: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of the variance that lies between items; 1: no sampling.")] = 1.0,
    as_json: JsonFlag = False,
) -> None:
    """Tell how many test items it takes to show an effect with 80 % power, and what the test split that is there can show.

    Counts rows and reads stored answers of baselines and variants; no test split is opened.

    Examples:

        pp power support-triage

        pp power support-triage --effect 0.05 --discordance 0.15

        pp power support-triage --effect 0.03 --trials 4 --between 0.4
    """
    from pp_assets.evaluation.plan import EFFECTS, Sampling
    from pp_assets.pipeline import Pipeline
    from pp_assets.planning import plan_test

    out = Output(as_json)
    settings, name = settle(task)
    sampling = Sampling(trials, between)
    found = plan_test(Pipeline(settings), name, effect or EFFECTS, discordance=discordance, icc=icc, sampling=sampling)
    if not out.result(found):
        show(found)


def show(found: dict[str, Any]) -> None:
    """The plan as a person reads it."""
    worst = f"; {number(found['detectable_worst'])} if systems disagree on half" if found["detectable_worst"] else ""
    shows = f"the smallest effect that this split shows with {found['target_power']:.0%} power{worst}"
    known = {"variance": found["variance"]}
    if not found["variance"]:
        known = {"discordance": found["discordance"], "design effect": found["design"]}
    rows = [(name, number(one["value"]), f"{one['source']}: {one['how']}") for name, one in known.items()]
    rows += [("effective items", number(found["effective_n"], 1), "items over the design effect")] if not found["variance"] else []
    rows += [("mde", number(found["detectable"]), shows)]
    line(f"{found['task']}: {found['metric']}, test split of {found['items']} items in {found['groups']} groups")
    table(("", "value", "how"), rows)
    line()
    head = ("effect", "items needed", "if half differ", "power now", "advice")
    table(head, [_row(effect) for effect in found["effects"]], right=head[:-1])


def _row(e: dict[str, Any]) -> tuple[str, ...]:
    return f"{e['effect']:g}", str(e["items_needed"]), str(e["items_needed_worst"] or "–"), f"{e['power']:.2f}", e["advice"]
