"""From the bytes of a JSONL file to JSON values, strictly: what is no line of JSON is a Fault that says why."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pp_assets.task.spec_file import strict_json

MAX_LINE_BYTES = 16 * 2**20
RAW_CHARS = 2000


class Fault(Exception):
    """What is wrong with a line: `code` is the kind of fault, `field` the part of the line that has it."""

    def __init__(self, code: str, field: str, reason: str) -> None:
        self.code, self.field, self.reason = code, field, reason


def read_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """(line number from 1, bytes without the line end). A line beyond MAX_LINE_BYTES comes cut to one byte more than that."""
    with path.open("rb") as handle:
        number = 0
        while line := handle.readline(MAX_LINE_BYTES + 1):
            number += 1
            if len(line) > MAX_LINE_BYTES and not line.endswith(b"\n"):
                while (rest := handle.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
            elif number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            yield number, line.rstrip(b"\r\n")


def parse_line(raw: bytes) -> Any:
    """The JSON value of a line. Raises Fault, also where a key stands twice or a text is none."""
    if len(raw) > MAX_LINE_BYTES:
        raise Fault("too_long", "", f"the line is longer than {MAX_LINE_BYTES // 2**20} MiB")
    try:
        value = strict_json(raw.decode("utf-8"))
        if b"\\u" in raw:  # only an escape can bring in half a surrogate pair, which is no text
            json.dumps(value, ensure_ascii=False).encode()
        return value
    except UnicodeEncodeError as error:
        raise Fault("invalid_json", "", f"invalid JSON: half a surrogate pair, {error.object[error.start]!r}") from error
    except UnicodeDecodeError as error:
        raise Fault("encoding", "", f"not UTF-8: byte 0x{raw[error.start]:02x} at column {error.start + 1}") from error
    except json.JSONDecodeError as error:
        raise Fault("invalid_json", "", f"invalid JSON: {error.msg} at column {error.colno}") from error
    except (ValueError, RecursionError) as error:
        code = "duplicate_key" if "duplicate key" in str(error) else "invalid_json"
        raise Fault(code, "", f"invalid JSON: {'nested too deeply' if isinstance(error, RecursionError) else error}") from error


def shorten(raw: bytes) -> str:
    """The start of a line as text; bytes that are not UTF-8 are shown as \\xNN."""
    text = raw[: RAW_CHARS * 4].decode("utf-8", "backslashreplace")
    return text if len(text) <= RAW_CHARS and len(raw) <= RAW_CHARS * 4 else f"{text[:RAW_CHARS]}… ({len(raw)} bytes in all)"
