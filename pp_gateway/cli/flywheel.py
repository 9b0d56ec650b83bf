"""`pp flywheel` and `pp champion`: where the renewal of a task stands, and the way back."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError

if TYPE_CHECKING:
    from pp_assets.champion import Champion
    from pp_assets.flywheel.stage import Turn
    from pp_assets.pipeline import Pipeline
    from pp_resources.settings import Settings

_SHORT = 8


def flywheel(
    task: TaskArgument,
    advance: Annotated[bool, typer.Option("--advance", help="Take the steps that are due, a training and a search included.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Show the decisions so far, the newest first.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Show where the renewal of a task stands and what it waits for: idle, training, a candidate in the shadow, a new champion on watch;
    and the search of a prompt, where the task wants such searches.

    While 'pp ui' runs, sensors take the steps. --advance takes them here and now; doing it again does nothing twice.

    Examples:

        pp flywheel support-triage

        pp flywheel support-triage --history --json
    """
    from pp_assets.flywheel.stage import history as decisions
    from pp_assets.flywheel.stage import look
    from pp_assets.pipeline import Pipeline

    out = Output(as_json)
    settings, name = settle(task)
    if history:
        _tell_history(out, name, decisions(Pipeline(settings).inbox.store, name))
        return
    made = _advance(settings, name) if advance else look(Pipeline(settings), name)
    if out.result(made.model_dump(mode="json")):
        return
    for reason in made.decided:
        line(f"decided   {reason}")
    line(f"{name}: {made.state.stage}, after {made.state.round} trainings")
    line(f"because   {made.reason}")
    if "prompts" in made.numbers:
        line(f"prompts   {made.numbers['prompts']['reason']}")
    guards = made.numbers.get("guards", ())
    if guards:
        table(("guard", "outcome", "bad", "n", "e", "needed"), [_guard(one) for one in guards], right=("bad", "n", "e", "needed"))


def champion(
    task: TaskArgument,
    rollback: Annotated[bool, typer.Option("--rollback", help="Make the champion before this one the champion again, at once.")] = False,
    reason: Annotated[str | None, typer.Option(help="Why; kept with the decision.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show the champion of a task and those before it, or go back to the previous one.

    What was taken back is not made champion again by any test. A running gateway follows within a second and drops no request.

    Examples:

        pp champion support-triage

        pp champion support-triage --rollback --reason "it misses urgent mail"
    """
    from pp_assets.champion import read_champion
    from pp_assets.flywheel.stage import take_back
    from pp_assets.pipeline import Pipeline

    out = Output(as_json)
    settings, name = settle(task)
    if reason is not None and not rollback:
        raise UserError("is for --rollback", where="--reason", how="add --rollback, or leave it out")
    if rollback:
        if not reason:
            raise UserError("a roll-back needs a reason", where="--reason", how='such as --reason "it misses urgent mail"')
        from pp_resources.tracking import open_tracker

        made, kept = take_back(Pipeline(settings, open_tracker(settings)), name, reason)
        if not out.result({"task": name, "variant": made.variant, "package": made.package_digest, "recorded": kept}):
            line(f"{name}: {made.variant} {made.package_digest[:_SHORT]} is the champion again")
            if not kept:
                line("The store is away: the reason was not kept.")
        return
    found = read_champion(settings.home, name)
    if found is None:
        raise UserError("there is no champion yet", where=name, how=f"run 'pp run {name}'")
    line_up = _line_up(found)
    if not out.result({"task": name, "champions": line_up, "taken_back": list(found.refused)}):
        table(("since", "variant", "package"), [(one["since"], one["variant"], one["package_digest"][:_SHORT]) for one in line_up])
        for one in found.refused:
            line(f"taken back: {one[:_SHORT]}")


def _advance(settings: "Settings", name: str) -> "Turn":
    """Turn, train and search where that is asked for, and turn again."""
    from pp_assets.ensembles import members_first
    from pp_assets.execute import Runner
    from pp_assets.flywheel.stage import enabled, turn
    from pp_assets.pipeline import ADAPTERS
    from pp_assets.prompts.optimising import Wanted
    from pp_gateway.cli.stages import watching

    with Runner(settings) as runner:
        made = turn(runner.pipeline, name)
        if made.state.stage == "training":
            variants = [key.partition("/")[2] for key in runner.pipeline.store.keys(ADAPTERS) if key.partition("/")[0] == name]
            with watching("train"):
                runner.task_data(name)
                for variant in members_first(variants):
                    runner.train(name, variant)
            made = _again(runner.pipeline, made)
        if made.state.search.stage == "data":
            with watching("data"):
                runner.training_data(name)
            made = _again(runner.pipeline, made)
        if made.state.search.stage == "search" and (prompts := enabled(runner.pipeline, name)[1].prompts):
            with watching("prompt"):
                runner.pipeline.prompt(name, Wanted.of(prompts.asked))
            made = _again(runner.pipeline, made)
    return made


def _again(p: "Pipeline", made: "Turn") -> "Turn":
    """The next turn, with what was decided before it."""
    from pp_assets.flywheel.stage import turn

    after = turn(p, made.task)
    return after.model_copy(update={"decided": (*made.decided, *after.decided)})


def _line_up(found: "Champion") -> list[dict[str, Any]]:
    one: Any = found.__dict__
    line_up = []
    while one:
        line_up.append({key: one[key] for key in ("since", "variant", "package", "package_digest")})
        one = one.get("previous")
    return line_up


def _guard(one: dict[str, Any]) -> tuple[str, ...]:
    return (one["name"], one["outcome"], str(one["bad"]), str(one["n"]), f"{one['e']:.3g}", f"{one['needed']:.3g}")


def _tell_history(out: Output, name: str, found: list[dict[str, Any]]) -> None:
    from pp_resources.store.ids import iso

    if out.result({"task": name, "decisions": [one | {"at": iso(one["at"])} for one in found]}):
        return
    if not found:
        line(f"{name}: nothing was decided yet")
        return
    table(("at", "stage", "because"), [(iso(one["at"])[:19], one["state"]["stage"], one["reason"]) for one in found], whole=("at", "stage"))
