"""What is wrong with a workflow: everything at once, each with its file and line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pp_resources.errors import UserError


@dataclass(frozen=True, order=True)
class Problem:
    file: Path
    line: int
    what: str
    how: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.what}" + (f"; {self.how}" if self.how else "")


class BadWorkflow(UserError):
    """A workflow that is not run. `problems` are all that were found, in the order of their lines."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = sorted(set(problems))
        first, more = self.problems[0], len(self.problems) - 1
        what = first.what + (f" (and {more} more)" if more else "")
        super().__init__(what, where=f"{first.file}:{first.line}", how=first.how)
