"""`pp generate`: new rows from a task's training rows, what the filters left of them, and whether they help."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, settle


def generate(
    task: TaskArgument,
    proof: Annotated[bool, typer.Option("--proof", help="Train with and without them, and compare on the test split.")] = False,
    as_json: JsonFlag = False,
) -> None:
    """Make new training rows, as the task's `generation` says, the emptiest cells of the coverage grid first.

    Each names its parents, method, parameters and seed. Whether they are trained on is `generation.enabled`: false, true, or auto, which
    decides by the validation rows. --proof trains each side with several seeds (minutes) and tells the paired gain on the test split.

    Examples:

        pp generate support-triage

        pp generate support-triage --proof

        pp review support-triage
    """
    import time

    out = Output(as_json)
    settings, name = settle(task)
    with running(settings) as (runner, log):
        if proof:
            runner.training_data(name, choose=False)
            began = time.monotonic()
            log.terminal.now("proof")
            chosen = runner.pipeline.generation_choice(name, proof=True)
            log.add("proof", chosen, time.monotonic() - began)
        else:
            runner.generated_data(name)
        from pp_assets.pipeline import CHOICES, GENERATED, read_json

        made = runner.pipeline.current(GENERATED, name)
        document = read_json(made.file("generation.json"))
        choice = runner.pipeline.store.current(CHOICES, name) if proof else None
    card = str((choice or made).file("data_card.html"))
    found = {"task": name, "generation": document, "card": card, "rows": str(made.file("generated.parquet"))}
    found |= {"proof": read_json(choice.file("choice.json"))} if choice else {}
    if out.result(found | log.as_dict()):
        return
    show(document)
    for told in found["proof"]["lines"] if choice else ():
        line(told)
    line(f"rows     {found['rows']}")
    line(f"card     {card}")
    line(log.said())


def show(document: Mapping[str, Any]) -> None:
    """Yields, methods, coverage."""
    line(f"{document['task']}: {document['generated']} rows from {document['written']} training rows")
    why = lambda s: "; ".join(f"{n} {reason}" for reason, n in s["dropped"].items()) or s["note"]  # noqa: E731
    table(("stage", "left", "dropped"), [(s["stage"], str(s["left"]), why(s)) for s in document["yields"]], right=("left",))
    line("methods  " + ", ".join(f"{name} {n}" for name, n in document["by_method"].items()))
    for name, reason in document["skipped"].items():
        line(f"not used: {name}: {reason}")
    coverage, spread = document["coverage"], document["diversity"]
    line(f"cells    {coverage['covered_after']} of {coverage['cells']} have rows, {coverage['covered_before']} before", end="; ")
    line(f"entropy {number(coverage['entropy_before'])} before, {number(coverage['entropy_after'])} after")
    for texts, values in spread.items():
        line(f"{texts}: " + ", ".join(f"{k} {number(v)}" for k, v in values.items()))
