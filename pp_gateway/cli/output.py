"""What a command shows: its result on standard output, as text or with --json as one JSON document; everything else on standard error."""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

if TYPE_CHECKING:
    from rich.console import Console

JsonFlag = Annotated[bool, typer.Option("--json", help="Print the result as JSON on standard output.")]
# Columns where nothing tells how wide the reader's window is (a pipe, a log): a table there must not be folded.
UNBOUNDED = 240


class Output:
    """Where a command's words go."""

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json

    def result(self, value: Any) -> bool:
        """Print the result when JSON is wanted; says whether it was, so that the caller prints text otherwise."""
        if self.as_json:
            sys.stdout.write(json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
            sys.stdout.flush()
        return self.as_json

    def error(self, line: str, parts: Mapping[str, str]) -> None:
        """One line on standard error, and with --json the parts of it as the result."""
        self.result({"error": dict(parts)})
        self.say(f"pp: {' '.join(line.split())}")

    def say(self, line: str) -> None:
        """A line for the person who waits."""
        print(line, file=sys.stderr, flush=True)


# What users sent is shown, not obeyed: an escape sequence in a stored text must not move the cursor or set the clipboard.
_SHOWN = {code: "\ufffd" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"}


def line(text: str = "", end: str = "\n") -> None:
    """A line of the result, never folded: it may hold a path that somebody copies."""
    print(text.translate(_SHOWN), end=end, flush=True)


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, right: Sequence[str] = (), whole: Sequence[str] = ()) -> None:
    """A table of the result; the columns in `right` hold numbers, those in `whole` are never folded."""
    from rich import box
    from rich.table import Table

    found = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in head:
        found.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in whole)
    for row in rows:
        found.add_row(*(_plain(cell) for cell in row))
    console().print(found)


def console(stream: TextIO | None = None) -> "Console":
    """A console as wide as the window, or wide enough for any table where there is none."""
    from rich.console import Console

    stream = stream or sys.stdout
    wide = stream.isatty() or "COLUMNS" in os.environ
    return Console(file=stream, width=None if wide else UNBOUNDED, highlight=False)


def number(value: float | None, digits: int = 3) -> str:
    """A number as people read it, `–` for none."""
    return "–" if value is None else f"{value:.{digits}f}"


def interval(value: float | None, low: float | None, high: float | None) -> str:
    return f"{number(value)} [{number(low)}, {number(high)}]"


def signed(value: float | None, digits: int = 3) -> str:
    return "–" if value is None else f"{value:+.{digits}f}"


def p_value(value: float | None) -> str:
    if value is None:
        return "–"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"


def _plain(cell: str) -> Any:
    """Text from data shows as it is: brackets are not markup."""
    from rich.text import Text

    return Text(cell.translate(_SHOWN))
