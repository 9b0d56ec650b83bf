"""A file of rows that is there whole or not at all, with what makes no row in a second file beside it."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

from pp_assets.task.reader import Rejected


class RowsFile:
    """Rows go to `to`, the others to `to`.quarantine.jsonl; `rows`, `rejected` (by code) and, where there is one, the path `quarantine`."""

    def __init__(self, to: Path) -> None:
        self.to, self.bad = to, to.with_name(f"{to.stem}.quarantine.jsonl")
        self.parts = [path.with_name(f".{path.name}.new") for path in (self.to, self.bad)]
        self.rows, self.rejected, self.quarantine = 0, Counter[str](), ""
        to.parent.mkdir(parents=True, exist_ok=True)
        self._out, self._bad = (part.open("wb") for part in self.parts)

    def write(self, row: Any) -> None:
        self._out.write(orjson.dumps(row) + b"\n")
        self.rows += 1

    def reject(self, row: Rejected) -> None:
        self._bad.write(row.as_json())
        self.rejected[row.code] += 1

    def first_rejected(self) -> Any:
        """The first line that makes no row."""
        self._bad.flush()
        return orjson.loads(self.parts[1].read_bytes().splitlines()[0])

    def close(self, *, keep: bool) -> None:
        self._out.close()
        self._bad.close()
        if keep:
            self.parts[0].replace(self.to)
            self.bad.unlink(missing_ok=True)  # that of an earlier run is about other rows
            if self.rejected:
                self.parts[1].replace(self.bad)
                self.quarantine = str(self.bad)
        for part in self.parts:
            part.unlink(missing_ok=True)


@contextmanager
def rows_file(to: Path) -> Iterator[RowsFile]:
    """Both files are there once the block ends well; an exception leaves neither."""
    file = RowsFile(to)
    try:
        yield file
    except BaseException:
        file.close(keep=False)
        raise
    file.close(keep=True)
