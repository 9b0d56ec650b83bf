"""Values that a cell depends on or holds, as bytes: equal bytes mean equal values of equal type, never equal-looking text."""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime
from pathlib import PurePath
from typing import Any

import numpy as np
import orjson

SIZE = 16  # bytes of a key: of a million million cells two are alike with a chance of 1e-15


class NotData(TypeError):
    """A value that has no bytes of its own: a function, a connection, an object of a class that this module does not know."""


def encode(value: Any) -> bytes:
    """Typed canonical bytes: 1, 1.0, "1" and True differ, and so do the orders of an object's keys, which a prompt may spell out.

    Tuples count as lists. Raises NotData.
    """
    try:
        text = orjson.dumps(
            value, option=orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_SUBCLASS
        )
        # orjson writes nan and infinities as null, and so must be asked again where there is one; "$" is the mark of a tag.
        return orjson.dumps(_tagged(value)) if b"null" in text or b'"$"' in text else text
    except TypeError:
        return orjson.dumps(_tagged(value))


def digest(value: Any) -> bytes:
    """`SIZE` bytes of a value. Raises NotData."""
    return hashlib.blake2b(encode(value), digest_size=SIZE).digest()


def as_json(value: Any) -> Any:
    """What a step gave, as JSON values: dataclasses as objects, numpy's numbers and arrays as Python's. Raises NotData."""
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        if not math.isfinite(value):
            raise NotData("a number that is not finite: give None where there is no value")
        return float(value)
    if isinstance(value, np.ndarray):
        return as_json(value.tolist())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: as_json(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise NotData("an object with keys that are not strings")
        return {key: as_json(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(part) for part in value]
    raise NotData(f"a {type(value).__name__}")


def _tagged(value: Any) -> Any:
    """As JSON, with a tag around whatever JSON has no type for."""
    for kinds, name, write in _TAGS:
        if isinstance(value, kinds):
            return {"$": name, "is": write(value)}
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        return _tagged(value.item())
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else {"$": "int", "is": str(value)}
    if isinstance(value, float):
        return value if math.isfinite(value) else {"$": "float", "is": repr(value)}
    if isinstance(value, list | tuple):
        return [_tagged(part) for part in value]
    if isinstance(value, Mapping):
        if all(isinstance(key, str) and key != "$" for key in value):
            return {key: _tagged(part) for key, part in value.items()}
        return {"$": "object", "is": [[_tagged(key), _tagged(part)] for key, part in value.items()]}
    raise NotData(f"a {type(value).__name__}")


_TAGS: tuple[tuple[Any, str, Callable[[Any], Any]], ...] = (
    (bytes, "bytes", bytes.hex),
    (datetime, "datetime", datetime.isoformat),
    (date, "date", date.isoformat),
    (PurePath, "path", str),
    (set | frozenset, "set", lambda v: sorted(orjson.dumps(_tagged(part)).hex() for part in v)),
    (np.ndarray, "array", lambda v: [str(v.dtype), list(v.shape), hashlib.sha256(np.ascontiguousarray(v).tobytes()).hexdigest()]),
)
