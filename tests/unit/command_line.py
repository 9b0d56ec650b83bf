"""`pp` as it is typed, on an installation of a test's own."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from pp_gateway.cli import main

PP = "import sys; from pp_gateway.cli import main; sys.exit(main())"


class Said(NamedTuple):
    """How a command ended: exit code, standard output and standard error, with what libraries write to either behind our back."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        """One JSON value a line."""
        return [json.loads(line) for line in self.out.splitlines()]


def use_installation(root: Path) -> None:
    """Work on the state and the tasks under `root` until the test ends."""
    os.environ.update(PP_HOME=str(root / "pp"), PP_TASKS=str(root / "tasks"))


def command_line(root: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """A function that runs one command, given by its words, on the installation under `root`."""
    use_installation(root)

    def call(*arguments: str) -> Said:
        capfd.readouterr()
        code = main(arguments)
        return Said(code, *capfd.readouterr())

    return call


def started_server(*words: str, **options: Any) -> "tuple[subprocess.Popen[str], str]":
    """A command that serves, in a process of its own as a person starts it, and the address that it tells; `options` are Popen's."""
    process = subprocess.Popen(
        [sys.executable, "-c", PP, *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )
    assert process.stdout is not None
    said = ""
    while not said.endswith("\n}\n"):
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said += line
    return process, json.loads(said)["url"]
