"""The one error that a user's input causes. Doors (CLI, gateway) print it and exit with code 2; nothing else is caught there."""

import difflib
from collections.abc import Iterable

LISTED = 40  # known words in a message


class UserError(Exception):
    """Bad input: what is wrong, where (file, line, field) and how to mend it.

    `str(error)` is one line: ``where: what; how``.
    """

    def __init__(self, what: str, *, where: str = "", how: str = "") -> None:
        self.what, self.where, self.how = what, where, how
        super().__init__((f"{where}: " if where else "") + what + (f"; {how}" if how else ""))


def nearest(word: str, known: Iterable[str]) -> str:
    """``did you mean 'x'?`` for the closest known word, else the first known words."""
    words = sorted(known)
    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    more = f" and {len(words) - LISTED} more" if len(words) > LISTED else ""
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(words[:LISTED]) or 'none'}{more}"
