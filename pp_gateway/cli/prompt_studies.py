"""`pp prompt impact`, `fewshot`, `reasoning` and `explain`: studies of a prompt, each with a report."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pp_gateway.cli.output import JsonFlag, Output
from pp_gateway.cli.pipeline import show_run
from pp_gateway.cli.stages import running
from pp_gateway.cli.tasks import TaskArgument, settle

if TYPE_CHECKING:
    from pp_assets.pipelines.entry import Entry

Target = Annotated[str, typer.Option("--target", help="What the prompt is for: base (the task's language model), or a model by its name.")]
Writer = Annotated[str | None, typer.Option(help="A model that writes. Default: none, which needs no strong model.")]
Calls = Annotated[int, typer.Option(min=1, help="Model calls, at most; a test asks each test row beside them.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Default: the task's.")]
SHOTS = "How many examples are tried; once for each number."


def add_commands(app: typer.Typer) -> None:
    """Put the studies below `pp prompt`."""
    for command in (impact, fewshot, reasoning, explain):
        app.command()(command)


def impact(
    task: TaskArgument,
    found: Annotated[bool, typer.Option("--found", help="Of the prompt that the newest search found, not of the task's own.")] = False,
    shots: Annotated[int, typer.Option(min=0, help="Put so many examples into the prompt first.")] = 0,
    target: Target = "base",
    calls: Calls = 1000,
    seed: Seed = None,
    as_json: JsonFlag = False,
) -> None:
    """Say what each part of a prompt buys: every sentence, list and example is left out in turn, and the answers are compared, paired.

    The rows are those that prompts are chosen by; the test split stays shut.

    Example: pp prompt impact support-triage --shots 4
    """
    from pp_assets.pipelines.prompt_studies import check_calls
    from pp_assets.pipelines.prompting import STUDIES

    given = {"found": found, "shots": shots, "target": target, "calls": calls, "seed": seed}
    _run(STUDIES[0], task, given, Output(as_json), check_calls)


def fewshot(
    task: TaskArgument,
    shots: Annotated[list[int] | None, typer.Option(min=1, help=f"{SHOTS} Default: 1, 2, 4 and 8.")] = None,
    orders: Annotated[int | None, typer.Option(min=1, help="Orders of the best set that are tried. Default: 8.")] = None,
    target: Target = "base",
    calls: Calls = 1000,
    seed: Seed = None,
    as_json: JsonFlag = False,
) -> None:
    """Choose the examples of a prompt: which, how many, in which order; tested once on test rows beside the task's own prompt.

    Example: pp prompt fewshot support-triage --shots 2 --shots 4 --calls 600
    """
    from pp_assets.pipelines.catalogue import entry

    given = {"shots": shots, "orders": orders, "target": target, "calls": calls, "seed": seed}
    _run(entry("prompt-engineering-fewshot"), task, given, Output(as_json))


def reasoning(
    task: TaskArgument,
    shots: Annotated[list[int] | None, typer.Option(min=1, help=f"{SHOTS} Default: 2 and 4.")] = None,
    rationales: Annotated[int | None, typer.Option(min=0, help="Training rows that a model is asked to reason about. Default: 24.")] = None,
    target: Target = "base",
    writer: Writer = None,
    calls: Calls = 1000,
    seed: Seed = None,
    as_json: JsonFlag = False,
) -> None:
    """Build a prompt that asks for steps before the answer, check the steps, and say what they are worth beside the same prompt without.

    Example: pp prompt reasoning support-triage --rationales 24
    """
    from pp_assets.pipelines.catalogue import entry

    given = {"shots": shots, "rationales": rationales, "target": target, "writer": writer, "calls": calls, "seed": seed}
    _run(entry("prompt-engineering-cot"), task, given, Output(as_json))


def explain(
    task: TaskArgument,
    rounds: Annotated[int | None, typer.Option(min=1, help="Rounds of improvements. Default: 2.")] = None,
    target: Target = "base",
    writer: Writer = None,
    calls: Calls = 1000,
    seed: Seed = None,
    as_json: JsonFlag = False,
) -> None:
    """Explain why the task's prompt fails, make instructions of the explanations, and test the best of them on rows that nobody has seen.

    Example: pp prompt explain support-triage --calls 600
    """
    from pp_assets.pipelines.prompting import STUDIES

    _run(STUDIES[1], task, {"rounds": rounds, "target": target, "writer": writer, "calls": calls, "seed": seed}, Output(as_json))


def _run(entry: "Entry", task: str, given: dict[str, Any], out: Output, check: Callable[..., None] = lambda *_: None) -> None:
    """Run a study on a task whose data is made ready first, once `check` (of pipeline, task and options) has let it pass."""
    from pp_assets.pipeline import read_json
    from pp_assets.pipelines.runs import DOCUMENT, perform
    from pp_assets.prompts.search.parts import check_models

    options = entry.read({name: value for name, value in given.items() if value is not None})
    settings, name = settle(task)
    with running(settings) as (runner, log):
        check_models(given["target"], given.get("writer"), runner.pipeline.task(name), settings)
        check(runner.pipeline, name, options)
        runner.training_data(name)
        log.terminal.now(f"{entry.id} {name}")
        made, _ = perform(runner.pipeline, entry, name, options)
    told = read_json(made.file(DOCUMENT))
    if not out.result({**told, "path": str(made.path)}):
        show_run(told, made)
