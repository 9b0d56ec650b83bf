"""`pp experiment`: a server that makes the calls of experiments."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from pp_gateway.cli.output import JsonFlag, Output, line

app = typer.Typer(help="Serve the steps of experiments to other machines.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    return None


@app.command()
def serve(
    allow: Annotated[
        list[str] | None, typer.Option("--allow", metavar="MODULE", help="Module or package whose functions may be called; repeatable.")
    ] = None,
    package: Annotated[
        list[Path] | None, typer.Option("--package", help="Folder of a package whose model may be asked; repeatable.")
    ] = None,
    host: Annotated[str, typer.Option(help="Another address than this machine's own needs PP_EXPERIMENT_KEY.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: a free one.")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Requests that are worked on at once.")] = 8,
    megabytes: Annotated[int, typer.Option(min=1, max=1024, help="Size of a request, at most.")] = 32,
    seconds: Annotated[
        float,
        typer.Option(min=1, help="Time for the calls of a request; those that take longer fail, and keep their worker until they end."),
    ] = 3600.0,
    as_json: JsonFlag = False,
) -> None:
    """Make the calls of experiments that run elsewhere with run(where="http://…"), until Ctrl-C.

    Requests name functions of allowed modules and carry values; no code is sent. A function whose code is not that of whoever asks is
    refused, and so is a model of another identity. Trained variants of this installation, their metrics and --package are always there.

    PP_EXPERIMENT_KEY, where it is set, must be sent by whoever asks; without it only this machine can be the --host.

    Examples:

        pp experiment serve --allow my_steps

        PP_EXPERIMENT_KEY=secret pp experiment serve --allow my_steps --host 0.0.0.0 --workers 16
    """
    from pp_assets.experiment.served import Served
    from pp_gateway.experiment_server import Door, run_server

    out = Output(as_json)
    # A module beside the person who starts the server is found as it is by `python my_experiment.py`.
    sys.path.insert(0, str(Path.cwd()))
    door = Door(host, port, workers, os.environ.get("PP_EXPERIMENT_KEY"), megabytes << 20, seconds)
    made = door.open()
    served = Served(allow or [], package or [])

    def ready(url: str) -> None:
        facts = {"url": url, "allowed": list(served.allowed), "steps": served.steps, "key": door.key is not None}
        if not out.result(facts):
            line(f"Experiments  {url}  (run(where={url!r}))")
            line(f"Steps        {', '.join(served.steps) or 'asking trained models, scoring by a task'}")
            line("Ctrl-C stops it.")

    run_server(served, door, made, ready)
