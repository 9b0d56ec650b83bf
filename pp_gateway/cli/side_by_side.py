"""Several `pp` commands at once, each in a process of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from threading import Thread
from typing import Any

import typer

from pp_gateway.cli.output import Output

_PP = "import sys; from pp_gateway.cli import main; sys.exit(main())"


def side_by_side(commands: Sequence[Sequence[str]], threads: int, out: Output) -> list[dict[str, Any]]:
    """Run these commands (with `--json`) and return what they print; their progress goes to standard error line by line.

    The first failure, in order, ends this command with the same exit code and, where `out` wants JSON, with the same document; the others
    are waited for.
    """
    environment = os.environ | {"PP_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)}
    options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8", "errors": "replace"}
    running = [subprocess.Popen([sys.executable, "-c", _PP, *words], env=environment, **options) for words in commands]
    tellers = [Thread(target=_tell, args=(process,), daemon=True) for process in running]
    try:
        for teller in tellers:
            teller.start()
        said = [_read(process) for process in running]
        for process, teller in zip(running, tellers):
            process.wait()
            teller.join()
    except BaseException:
        for process in running:
            process.terminate()
        raise
    for process, text in zip(running, said):
        if process.returncode:
            if text.strip():
                out.result(json.loads(text))
            raise typer.Exit(process.returncode)
    return [json.loads(text) for text in said]


def _read(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.read()


def _tell(process: "subprocess.Popen[str]") -> None:
    assert process.stderr is not None
    for text in process.stderr:
        typer.echo(text, err=True, nl=False)
