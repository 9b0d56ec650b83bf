"""`pp ui`: Dagster and MLflow in the browser."""

import json
import time
from typing import Annotated

import typer

from pp_gateway.cli.output import JsonFlag, Output, line
from pp_resources.settings import Settings


def ui(
    open: Annotated[bool, typer.Option("--open", help="Show the Dagster page in a browser.")] = False,
    dagster_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 3000, or a free one.")] = None,
    mlflow_port: Annotated[int | None, typer.Option(min=1, max=65535, help="Default: 5000, or a free one.")] = None,
    as_json: JsonFlag = False,
) -> None:
    """Start Dagster (pages and daemon) and MLflow on this machine, print their addresses, stay until Ctrl-C.

    Example:

        pp ui --open
    """
    from pp_gateway.ui import run_ui

    out, settings, began = Output(as_json), Settings.from_env(), time.time()
    addresses, told = settings.home / "ui.json", False

    def say(text: str) -> None:
        nonlocal told
        if not as_json:
            line(text)
            return
        out.say(text)
        # The addresses are written when all servers answer.
        if not told and addresses.exists() and addresses.stat().st_mtime >= began:
            told = out.result({**json.loads(addresses.read_text("utf-8")), "logs": str(settings.home / "logs")})

    code = run_ui(settings, say=say, open=open, dagster_port=dagster_port, mlflow_port=mlflow_port)
    if code:
        raise typer.Exit(code)
