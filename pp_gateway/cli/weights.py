"""`pp weights` and `pp next`: who answers with which share and why, and what a task needs next."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, interval, line, number, table
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError


def weights(
    task: TaskArgument,
    apply: Annotated[
        bool | None, typer.Option("--apply/--dry-run", help="Account for what is new and write the decision, or only show it.")
    ] = None,
    history: Annotated[bool, typer.Option("--history", help="Show the decisions over time instead.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="Of so many newest decisions.")] = 1000,
    plot: Annotated[Path | None, typer.Option(help="Write the weights over time to this PNG file.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Show how the variants of a task share its traffic: weights, evidence of each, what was rolled back, who has won.

    The sensor move_weights does what --apply does, every 30 seconds. Feedback counts when its time to arrive is over.

    Examples:

        pp weights support-triage

        pp weights support-triage --apply --json

        pp weights support-triage --history --plot weights.png
    """
    from pp_assets.pipeline import Pipeline
    from pp_assets.routing.stage import KIND, last_decision, move, routed
    from pp_assets.task.spec import load_task
    from pp_resources.store.read_work import decisions_on

    out = Output(as_json)
    settings, name = settle(task)
    p, found = Pipeline(settings), load_task(name, settings.tasks)
    policy, store = routed(found), p.inbox.store
    told: dict[str, Any] = {"task": name, "champion": policy.champion, "written": False}
    if apply is None:
        last = last_decision(store, name)
        told |= {"decision": last.seq or None, "at": last.at or None, **(dict(last.data) or _declared(policy))}
    else:
        moved = move(store, found, p.store, write=apply)
        while apply and moved.more and moved.seq is not None:
            moved = move(store, found, p.store)
        told |= {"decision": moved.seq or moved.last.seq or None, **moved.data, "written": moved.seq is not None, "more": moved.more}
    rows = list(reversed(decisions_on(store, name, kind=KIND, limit=limit + 1))) if store.exists and (history or plot) else []
    before, rows = (rows[0], rows[1:]) if len(rows) > limit else (None, rows)
    if plot is not None:
        _draw(plot, rows, name, before)
    if history:
        if not out.result({"task": name, "decisions": rows, "plot": str(plot) if plot else None}):
            _history(name, rows, before)
    elif not out.result(told | {"plot": str(plot) if plot else None}):
        _show(told)
    if plot is not None and not as_json:
        line(f"plot     {plot}")


def _declared(policy: Any) -> dict[str, Any]:
    from pp_assets.routing.decision import static
    from pp_resources.store.ids import MICRO, now

    return static(policy, None, "nothing was decided yet", now() / MICRO).model_dump(mode="json")


def _draw(plot: Path, rows: Sequence[Mapping[str, Any]], name: str, before: Mapping[str, Any] | None) -> None:
    from pp_assets.routing.weights_plot import weights_plot
    from pp_resources.store.ids import MICRO, now

    if not rows:
        raise UserError("nothing was decided yet", where=f"weights of {name}", how="wait for feedback, or leave --plot out")
    plot.write_bytes(weights_plot(rows, name, now() / MICRO, before))


def _show(told: Mapping[str, Any]) -> None:
    what = f"decision {told['decision']}" if told["decision"] else "no decision yet"
    line(f"{told['task']}: {what}; {told.get('reason', 'without a reason')}")
    line()
    rows = []
    for name, one in sorted(told.get("variants", {}).items(), key=lambda item: -item[1]["share"]):
        objective = one["objective"]
        share = one["share"] or one["shadow_share"]
        against = "; ".join(f"{other} {e:.3g}" for other, e in one["against"].items())
        seen = interval(objective["mean"], objective["low"], objective["high"]) if objective["n"] else "–"
        champion = " (champion)" if name == told["champion"] else ""
        rows.append((name + champion, one["status"], number(share), str(objective["n"]), seen, number(one["best"]), against, _guards(one)))
    table(("variant", "", "share", "n", "objective", "best", "e-value against", "guards: mean (e of needed)"), rows, right=("share", "n"))
    read = told.get("read") or {}
    left = "; ".join(f"{n} {reason}" for reason, n in (read.get("left_out") or {}).items())
    if read:
        line()
        line(f"last read {read['inferences']} inferences in {read['cohorts']} cohorts" + (f", of which left out: {left}" if left else ""))
    for warning in told.get("warnings", ()):
        line(f"warning  {warning}")
    if told["written"]:
        line("written; the gateway follows within seconds")


def _guards(one: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} {number(guard['mean'])}" + ("" if guard["e"] is None else f" ({guard['e']:.3g} of {guard['needed']:g})")
        for name, guard in one["guards"].items()
    )


def _history(name: str, rows: Sequence[Mapping[str, Any]], before: Mapping[str, Any] | None) -> None:
    from pp_assets.routing.weights_plot import events
    from pp_resources.store.ids import iso

    line(f"{name}: {len(rows)} decisions on weights")
    marks: dict[int, list[str]] = {}
    for at, _, reason in events(rows, before):
        marks.setdefault(at, []).append(reason)
    line()
    shown = []
    for row in rows:
        shares = ", ".join(f"{variant} {share:.3f}" for variant, share in row["data"]["weights"].items())
        shown.append((str(row["seq"]), iso(row["at"])[:19], row["data"].get("basis", ""), shares, "; ".join(marks.get(row["at"], ()))))
    table(("decision", "at", "basis", "weights", ""), shown, right=("decision",))


def next_(task: TaskArgument, as_json: JsonFlag = False) -> None:
    """Say what a task needs next: keep, tune, change or escalate, with the numbers that show it.

    By serving.standards in task.yaml. The run is seen in the UI, a new decision is kept in the store. Ends with 1 unless it is to keep.

    Example: pp next support-triage --json
    """
    from pp_assets.pipeline import read_json
    from pp_assets.task.spec import load_task
    from pp_gateway.cli.stages import running

    out = Output(as_json)
    settings, name = settle(task)
    asked_of = load_task(name, settings.tasks)
    if asked_of.spec.serving is None or asked_of.spec.serving.standards is None:
        where, how = f"{asked_of.file}: serving.standards", "declare them: good, poor, and what else matters"
        raise UserError("nothing says what is good enough", where=where, how=how)
    with running(settings) as (runner, _):
        found = read_json(runner.next_step(name).file("next_step.json"))
    if not out.result({"task": name, **found}):
        line(f"{name}: {found['action']} ({found['rule']}): {found['reason']}")
        line()
        facts, asked = found["facts"], found["standards"]
        cells = [(found["metric"], facts["quality"], f"{asked['poor']:g} poor, {asked['good']:g} good")]
        cells += [("cost", facts["cost"], _most(asked["most_cost"])), ("escalated", facts["escalated"], _most(asked["most_escalated"]))]
        shown = [(name, *_known(known), limit) for name, known, limit in cells]
        table((f"of {found['variant']}", "n", "value", "standard"), shown, right=("n",))
        line()
        line(f"drift {'yes' if facts['drift'] else 'no'}; {facts['new_examples']} new examples; better: {facts['better'] or 'none known'}")
    if found["action"] != "keep":
        raise typer.Exit(1)


def _most(limit: float | None) -> str:
    return "–" if limit is None else f"at most {limit:g}"


def _known(known: Mapping[str, Any] | None) -> tuple[str, str]:
    if known is None or known["value"] is None:
        return "0", "–"
    return str(known["n"]), interval(known["value"], known["low"], known["high"])
