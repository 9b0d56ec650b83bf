"""`pp providers compare`: models of any provider and local ones on one table of quality, speed, cost and features."""

from typing import Annotated

import typer

from pp_gateway.cli.output import JsonFlag, Output
from pp_gateway.cli.pipeline import perform
from pp_gateway.cli.tasks import TaskArgument

app = typer.Typer(help="Compare models of providers and of this machine.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    return None


@app.command()
def compare(
    task: TaskArgument,
    model: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            "-m",
            help="A variant, a package's folder, base-zero-shot, provider, ADDRESS#MODEL; default: all that is trained.",
        ),
    ] = None,
    test: Annotated[bool, typer.Option("--test", help="Ask the test rows, an opening that is counted, not the validation rows.")] = False,
    rows: Annotated[int | None, typer.Option(min=2, help="Ask a seeded draw of so many rows.")] = None,
    shots: Annotated[int, typer.Option(min=0, max=64, help="Training rows in the prompt of models that are asked by messages.")] = 0,
    hourly: Annotated[float | None, typer.Option(min=0, help="US dollars that an hour of this machine costs.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Put models on one table: quality with paired differences from the best (Holm), speed, cost, features.

    Each model answers the same rows; answers that are kept are not asked for again. Ranks that the data cannot tell apart are ranges. It
    is the pipeline model-comparison-cross-provider, and ends in its report.

    Examples:

        pp providers compare support-triage

        pp providers compare support-triage -m encoder-lora -m base-zero-shot-constrained -m provider --rows 100

        pp providers compare support-triage -m lora-r8 -m http://127.0.0.1:8000/v1#some-model --test --json
    """
    from pp_assets.pipelines.catalogue import entry

    one = entry("model-comparison-cross-provider")
    given = {"models": list(model or []), "test": test, "rows": rows, "shots": shots, "hourly": hourly}
    one.read(given)
    perform(one, task, given, Output(as_json))
