"""Writing to the store in a process of its own, for a server whose event loop should not share Python's lock with large transactions.

The process is started when as many rows come at once as make it worth the half second and the 60 MB; before that, and when it has ended for
whatever reason, rows are written here. It gets rows over a pipe as the lines of a journal, and ends when the pipe does.
"""

import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import IO, Any

import orjson
from sqlalchemy.engine import make_url

from pp_resources.errors import UserError
from pp_resources.settings import PROJECT_ROOT
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.group import Results
from pp_resources.store.opened import Store
from pp_resources.store.rows import Ack, Row
from pp_resources.store.wire import from_json, to_json

WORTH = 200  # rows of one transaction
_LENGTH = struct.Struct("<I")


class Apart:
    """Writes rows as `Store.write_many` does. One thread at a time may call it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._process: subprocess.Popen[bytes] | None = None
        self._starting: threading.Thread | None = None

    def write_many(self, rows: Sequence[Row]) -> Results:
        """What becomes of each row. Raises StoreUnavailable when none of them is written, or when that is not known."""
        process = self._process
        if process is None:
            if len(rows) >= WORTH and self._starting is None:
                # Rows do not wait for it: those that come meanwhile are written here.
                self._starting = threading.Thread(target=self._start, name="store process", daemon=True)
                self._starting.start()
            return self._store.write_many(rows)
        assert process.stdin is not None and process.stdout is not None
        try:
            _send(process.stdin, b"\n".join(map(to_json, rows)))
            said = orjson.loads(_receive(process.stdout))
        except (OSError, EOFError) as error:
            self.close()
            raise StoreUnavailable("the process that writes to it has ended", where="store") from error
        if isinstance(said, dict):
            raise StoreUnavailable(**said)
        return [_result(row, one) for row, one in zip(rows, said, strict=True)]

    def close(self) -> None:
        """End the process."""
        process, self._process, self._starting = self._process, None, None
        if process is not None:
            _end(process)

    def _start(self) -> None:
        words = [sys.executable, "-m", __name__]
        made = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=PROJECT_ROOT)
        url = self._store.url if self._store.file is None else self._store.url.set(database=str(self._store.file.resolve()))
        assert made.stdin is not None and made.stdout is not None
        try:
            # Not an argument, which other users of the machine could see: it may hold a password.
            _send(made.stdin, orjson.dumps([url.render_as_string(hide_password=False), self._store.patience]))
            _receive(made.stdout)
        except (OSError, EOFError):
            _end(made)  # rows go on being written here
            return
        if self._starting is threading.current_thread():
            self._process = made
        else:  # closed meanwhile
            _end(made)


def _end(process: subprocess.Popen[bytes]) -> None:
    for pipe in (process.stdin, process.stdout):
        assert pipe is not None
        with suppress(OSError):
            pipe.close()
    process.wait()


def _result(row: Row, said: Any) -> Ack | Exception:
    """What became of a row, as `_told` says it."""
    if isinstance(said, dict):
        return UserError(**said)
    return RuntimeError(said) if isinstance(said, str) else Ack(row.id, *said)


def _told(result: Ack | Exception) -> Any:
    if isinstance(result, UserError):
        return _parts(result)
    return str(result) if isinstance(result, Exception) else [result.seq, result.created]


def _parts(error: UserError) -> dict[str, str]:
    return {"what": error.what, "where": error.where, "how": error.how}


def _send(pipe: IO[bytes], data: bytes) -> None:
    pipe.write(_LENGTH.pack(len(data)) + data)
    pipe.flush()


def _receive(pipe: IO[bytes]) -> bytes:
    """Raises EOFError where the other side has ended."""
    (length,) = _LENGTH.unpack(_exactly(pipe, _LENGTH.size))
    return _exactly(pipe, length)


def _exactly(pipe: IO[bytes], size: int) -> bytes:
    data = pipe.read(size)
    if len(data) < size:
        raise EOFError
    return data


def main() -> None:
    """The process: an address, then rows, each answered with what became of them, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C ends the server, which writes what waits before it ends this
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    with suppress(EOFError, BrokenPipeError):
        url, patience = orjson.loads(_receive(given))
        store = Store(make_url(url), patience)
        _send(answers, b"")
        while True:
            rows = [from_json(line) for line in _receive(given).split(b"\n")]
            try:
                said: Any = [_told(result) for result in store.write_many(rows)]
            except StoreUnavailable as error:
                said = _parts(error)
            _send(answers, orjson.dumps(said))


if __name__ == "__main__":
    main()
