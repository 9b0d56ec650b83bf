"""All commands in one place, and what happens when one of them cannot do what it was asked for."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import Abort

from pp_gateway.cli import (
    ab,
    bench,
    cascade,
    clusters,
    compare,
    contract,
    data,
    dicl,
    drift,
    experiment,
    feedback,
    flywheel,
    generate,
    history,
    inferences,
    jobs,
    package,
    pipeline,
    power,
    prompt,
    providers,
    queue,
    review,
    run,
    serve,
    status,
    store,
    task,
    tune,
    ui,
    weights,
)
from pp_gateway.cli.environment import quiet_environment
from pp_gateway.cli.output import Output
from pp_resources.errors import UserError

BAD_INPUT, INTERRUPTED = 2, 130

app = typer.Typer(
    name="pp",
    help="From a prompt and a few hundred examples to a small model of your own, with a report that proves or denies the improvement.",
    epilog="Start with: pp task init my-task, then pp task check my-task, then pp run my-task. "
    "State lives under PP_HOME (default .pp), tasks under PP_TASKS (default tasks/).",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.add_typer(task.app, name="task")
run.add_commands(app)
app.add_typer(data.app, name="data")
app.command("generate")(generate.generate)
app.command("review")(review.review)
app.command("tune")(tune.tune)
app.add_typer(clusters.app, name="clusters")
app.command("compare")(compare.compare)
app.command("power")(power.power)
app.command("ab")(ab.ab)
app.command("bench")(bench.bench)
app.command("history")(history.history)
app.add_typer(experiment.app, name="experiment")
app.add_typer(pipeline.app, name="pipeline")
app.add_typer(providers.app, name="providers")
app.add_typer(package.app, name="package")
app.command("predict")(package.predict)
app.add_typer(feedback.app, name="feedback")
app.command("drift")(drift.drift)
app.add_typer(contract.app, name="contract")
app.command("serve")(serve.serve)
app.add_typer(jobs.app, name="jobs")
app.command("flywheel")(flywheel.flywheel)
app.command("champion")(flywheel.champion)
app.command("status")(status.status)
app.add_typer(store.app, name="store")
app.add_typer(inferences.app, name="inferences")
app.add_typer(queue.app, name="queue")
app.add_typer(dicl.app, name="dicl")
app.add_typer(prompt.app, name="prompt")
app.command("weights")(weights.weights)
app.command("next")(weights.next_)
app.command("cascade")(cascade.cascade)
app.command("ui")(ui.ui)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"pp {version('promptprecision')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,  # noqa: ARG001
) -> None:
    return None


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code. Nothing but bad input and interruption is caught."""
    args = list(sys.argv[1:] if argv is None else argv)
    out = Output("--json" in args)
    quiet_environment()
    try:
        code = app(args=args, prog_name="pp", standalone_mode=False)
    except UserError as error:
        out.error(str(error), {"what": error.what, "where": error.where, "how": error.how})
        return BAD_INPUT
    except typer.TyperException as error:
        # An unknown command, a missing argument, an option with a value that it cannot have.
        message = " ".join(error.format_message().split())
        out.error(message, {"what": message, "where": "command line", "how": "add --help to the command to see what it takes"})
        return error.exit_code
    except (KeyboardInterrupt, Abort):
        out.say("Interrupted. What was complete is kept; the same command goes on from there.")
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone (`pp predict … | head`): nothing is left to say, also not at exit.
        sys.stdout = None  # type: ignore[assignment]
        return 0
    return code if isinstance(code, int) else 0
