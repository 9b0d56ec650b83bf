"""`pp data inputs`: the verdict on every training and generated row."""

from typing import Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output, line, number, table
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, settle
from pp_resources.errors import UserError, nearest

ORDERS = {"filter_score": "filter score", "novelty": "novelty", "difficulty": "difficulty", "contract": "contract score"}


def inputs(
    task: TaskArgument,
    by: Annotated[str, typer.Option(help=f"Order: {', '.join(ORDERS)}.")] = "filter_score",
    kind: Annotated[str | None, typer.Option(help="Only written, or only generated rows.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="Rows shown.")] = 20,
    as_json: JsonFlag = False,
) -> None:
    """Show what is thought of each row: score, contract, novelty, difficulty, whether it is learnt from and why not.

    The thresholds stand in task.yaml under `inputs`. With --json all rows are printed.

    Examples:

        pp data inputs support-triage

        pp data inputs support-triage --by difficulty --kind written
    """
    from pp_assets.datasets import read_inputs
    from pp_assets.pipeline import INPUTS

    if by not in ORDERS:
        raise UserError(f"unknown order {by!r}", where="--by", how=nearest(by, ORDERS))
    if kind not in (None, "written", "generated"):
        raise UserError(f"unknown kind {kind!r}", where="--kind", how="written or generated")
    out = Output(as_json)
    settings, name = settle(task)
    with running(settings) as (runner, _):
        runner.training_data(name)
        made = runner.pipeline.current(INPUTS, name)
        rows = [row for row in read_inputs(runner.pipeline, name) if kind in (None, row["kind"])]
    # A low contract score is what one looks for; of the others a high one.
    sign = 1 if by == "contract" else -1
    rows.sort(key=lambda row: (row[by] is None, sign * (row[by] or 0), row["item_id"]))
    m = made.metadata
    if out.result({"task": name, "kept_written": m["kept_written"], "kept_generated": m["kept_generated"], "rows": rows}):
        return
    line(f"{name}: {m['kept_written']} written and {m['kept_generated']} generated rows kept, {m['dropped']} dropped; by {ORDERS[by]}")
    for reason, count in m["dropped_by_reason"].items():
        line(f"dropped  {count:5} {reason}")
    line()
    table(("kind", "score", "contract", "novelty", "difficulty", "", "input"), [_cells(row) for row in rows[:limit]])


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    numbers = (number(row[name], 2) for name in ("score", "contract", "novelty", "difficulty"))
    return (row["kind"], *numbers, "" if row["keep"] else row["reason"], row["input_text"][:80])
