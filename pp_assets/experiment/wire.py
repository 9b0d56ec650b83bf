"""The arguments of a call as JSON, and back, each of exactly the type that it had. Neither code nor a model travels: both go by name and
digest, and the other side looks for its own.

What cannot come back as it was (a subclass, a dataclass, a time zone by name) is refused: it would be another argument under the same key.
"""

import base64
import math
from collections.abc import Callable, Mapping
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from pp_assets.experiment.fingerprint import fingerprint
from pp_assets.experiment.ops import Op, label
from pp_resources.errors import UserError

PLAIN = (bool, str, type(None))
NUMERIC = "biufc"  # kinds of arrays and numbers of numpy that are bytes and nothing else
MODEL, CODE, NUMBER = "model", "code", "number"


def pack(value: Any, where: str) -> Any:
    """JSON values, with a tag around whatever JSON has no type for. Raises UserError for what has no way to travel."""
    if isinstance(value, Op):
        return {"$": CODE, "is": {"at": place_of(value.function, where), "digest": value.identity}}
    if isinstance(identity := getattr(value, "identity", None), str):
        known = {"name": str(label(value)), "key": getattr(value, "key", None), "identity": identity, "type": type(value).__qualname__}
        return {"$": MODEL, "is": known}
    kind = type(value)
    if kind in PLAIN or (kind is int and -(2**63) <= value < 2**64) or (kind is float and math.isfinite(value)):
        return value
    if kind is list:
        return [pack(part, where) for part in value]
    if kind is dict and all(type(key) is str and key != "$" for key in value):
        return {key: pack(part, where) for key, part in value.items()}
    for name, (kinds, write, _) in _TAGS.items():
        if kind in kinds:
            return {"$": name, "is": write(value, where)}
    if isinstance(value, np.generic) and value.dtype.kind in NUMERIC:
        return {"$": NUMBER, "is": _array(np.asarray(value), where)}
    if callable(value):
        return {"$": CODE, "is": {"at": place_of(value, where), "digest": fingerprint(value).digest}}
    how = "give plain values (text, numbers, lists, objects, dates, arrays of numbers), or run this step here"
    raise UserError(f"a {kind.__name__} cannot be sent to a server", where=where, how=how)


def unpack(value: Any, find: Callable[[str, Mapping[str, Any]], Any]) -> Any:
    """What `pack` was given. `find` has the tag and the words of a model or of code. Raises ValueError for what `pack` does not write."""
    if isinstance(value, list):
        return [unpack(part, find) for part in value]
    if not isinstance(value, dict):
        return value
    if "$" not in value:
        return {key: unpack(part, find) for key, part in value.items()}
    name, inner = value["$"], value.get("is")
    if value.keys() != {"$", "is"} or not isinstance(name, str):
        raise ValueError("a tag that is none")
    if name in (MODEL, CODE):
        if not isinstance(inner, dict):
            raise ValueError(f"a {name} without words")
        return find(name, inner)
    if name not in _TAGS:
        raise ValueError(f"an unknown tag {name!r}")
    try:
        return _TAGS[name][2](inner, find)
    except (TypeError, AttributeError, KeyError) as error:
        raise ValueError(f"a {name} that is none ({error})") from error


def place_of(function: Any, where: str) -> str:
    """`module:name` of a function. Raises UserError for one that another process cannot import."""
    module, name = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
    how = "put it at the top of a module of its own, or run this step here: where={'step': 'http://…'} names those of the server"
    if not module or not name:
        raise UserError(f"a {type(function).__name__} has no name that a server could import", where=where, how=how)
    if module == "__main__":
        raise UserError(f"{name} is defined in the script that runs, which a server cannot import", where=where, how=how)
    if "." in name or "<" in name:
        raise UserError(f"{name} is defined inside of something else, where a server does not find it", where=where, how=how)
    return f"{module}:{name}"


def _time(value: datetime, where: str) -> str:
    if value.tzinfo is not None and type(value.tzinfo) is not timezone:
        raise UserError(f"a time with a {type(value.tzinfo).__name__} cannot be sent to a server", where=where, how="give UTC or an offset")
    return value.isoformat()


def _array(value: np.ndarray, where: str) -> list[Any]:
    if value.dtype.kind not in NUMERIC:
        raise UserError(f"an array of {value.dtype} cannot be sent to a server", where=where, how="give arrays of numbers, or a list")
    return [value.dtype.str, list(value.shape), base64.b64encode(np.ascontiguousarray(value).tobytes()).decode()]


def _from_array(inner: Any) -> np.ndarray:
    kind, shape, data = inner
    dtype = np.dtype(str(kind))
    if dtype.kind not in NUMERIC:
        raise ValueError(f"an array of {dtype}")
    return np.frombuffer(base64.b64decode(data, validate=True), dtype).reshape([int(n) for n in shape]).copy()


def _list(value: Any, where: str) -> list[Any]:
    return [pack(part, where) for part in value]


def _pairs(value: Mapping[Any, Any], where: str) -> list[Any]:
    return [[pack(key, where), pack(part, where)] for key, part in value.items()]


Find = Callable[[str, Mapping[str, Any]], Any]
# By name: the types, how they are written, how they are read.
_TAGS: dict[str, tuple[tuple[type, ...], Callable[[Any, str], Any], Callable[[Any, Find], Any]]] = {
    "int": ((int,), lambda v, _: str(v), lambda v, _: int(v)),
    "float": ((float,), lambda v, _: repr(v), lambda v, _: float(v)),
    "bytes": ((bytes,), lambda v, _: v.hex(), lambda v, _: bytes.fromhex(v)),
    "tuple": ((tuple,), _list, lambda v, find: tuple(unpack(part, find) for part in v)),
    "set": ((set,), _list, lambda v, find: {unpack(part, find) for part in v}),
    "frozenset": ((frozenset,), _list, lambda v, find: frozenset(unpack(part, find) for part in v)),
    "object": ((dict,), _pairs, lambda v, find: {unpack(key, find): unpack(part, find) for key, part in v}),
    "datetime": ((datetime,), _time, lambda v, _: datetime.fromisoformat(v)),
    "date": ((date,), lambda v, _: v.isoformat(), lambda v, _: date.fromisoformat(v)),
    "path": ((type(Path()),), lambda v, _: str(v), lambda v, _: Path(v)),
    "array": ((np.ndarray,), _array, lambda v, _: _from_array(v)),
    NUMBER: ((), _array, lambda v, _: _from_array(v)[()]),  # each of numpy's numbers is of a type of its own
}
