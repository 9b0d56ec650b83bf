"""Steps and scorers: functions that an experiment calls once for each cell, and what a user can say of them."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pp_assets.experiment.fingerprint import Fingerprint, fingerprint
from pp_assets.experiment.values import NotData, digest, encode
from pp_resources.errors import UserError
from pp_resources.fingerprint import file_sha256
from pp_resources.models.price import Price


class Refused(Exception):
    """Raised by a step whose model declines to answer: kept as a cell with this status, never asked again and never served as a result."""


@dataclass(frozen=True)
class Out:
    """What a step may return instead of a plain value, with what it took. Without `cost_usd` the price of the model counts."""

    value: Any
    tokens_in: int = 0
    tokens_out: int = 0
    cost_usd: float | None = None


@dataclass(frozen=True)
class Op:
    """A function with what was said of it by `@op`; calling it calls the function."""

    function: Callable[..., Any]
    version: str | Callable[[], str] | None = None
    watch: tuple[str, ...] = ()
    docstrings: bool = False
    sampled: bool | str | None = None
    batch: tuple[str, int] | None = None
    per_minute: float | None = None
    retries: int = 0
    name: str = field(default="")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.function(*args, **kwargs)

    @property
    def identity(self) -> str:
        return self.fingerprint().digest

    def fingerprint(self) -> Fingerprint:
        """Of the code, or of the version that was pinned, with the files that are watched."""
        return Fingerprint(self.code() | self.files())

    def code(self) -> dict[str, str]:
        """The parts of the fingerprint that are of this process, and stay what they are as long as it runs."""
        if self.version is None:
            return dict(fingerprint(self.function, docstrings=self.docstrings).parts)
        pinned = self.version() if callable(self.version) else self.version
        return {f"version of {self.name}": pinned, **{f"{name} of {self.name}": digest(v).hex() for name, v in self.bound.items()}}

    def files(self) -> dict[str, str]:
        """The parts that are of the files which it watches."""
        return {f"file {path}": file_sha256(_watched(path, self.name)) for path in self.watch}

    @property
    def bound(self) -> Mapping[str, Any]:
        """Arguments that are given already, where the function is a `functools.partial`."""
        if not isinstance(self.function, partial):
            return {}
        return {**{f"argument {place}": value for place, value in enumerate(self.function.args)}, **self.function.keywords}

    @property
    def arguments(self) -> dict[str, bool]:
        """Its parameters by name, and whether each must be given."""
        found = {}
        for name, parameter in inspect.signature(self.function).parameters.items():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise UserError(f"parameter {name!r} has no name of its own", where=self.name, how="name every argument that it takes")
            if name not in self.bound:
                found[name] = parameter.default is parameter.empty
        return found


def op(
    function: Callable[..., Any] | None = None,
    *,
    version: str | Callable[[], str] | None = None,
    watch: Sequence[str] = (),
    docstrings: bool = False,
    sampled: bool | str | None = None,
    batch: tuple[str, int] | None = None,
    per_minute: float | None = None,
    retries: int = 0,
) -> Any:
    """Say something of a step or scorer; a plain function needs none of it.

    `version` pins it: its results are good until this word (or what this function gives) changes, whatever the code does. `watch` adds the
    content of files. `docstrings` counts them, where they are prompts. `sampled` says that it answers differently each time: always, never,
    or where the number in the argument of this name is above 0; by default steps do (those with an argument `temperature` where it is above
    0), scorers do not. `batch` = ("texts", 64) has the function called with lists of up to 64 in this argument, and give a list.
    `per_minute` bounds the calls, `retries` are made with growing pauses.
    """

    def mark(inner: Callable[..., Any]) -> Op:
        name = getattr(inner, "__name__", type(inner).__name__)
        return Op(inner, version, tuple(watch), docstrings, sampled, batch, per_minute, retries, name)

    return mark if function is None else mark(function)


def as_op(function: Any) -> Op:
    """The function as a step; UserError for what cannot be called."""
    if isinstance(function, Op):
        return function
    if not callable(function):
        raise UserError(f"{function!r} cannot be called", where="experiment", how="give a function")
    made: Op = op(function)
    return made


def identify(value: Any, where: str) -> bytes:
    """The digest of an argument: of its `identity` (a model: name, revision, adapter, sampling), its data, or its code.

    Raises UserError for an object that has neither: two of them could not be told apart.
    """
    identity = getattr(value, "identity", None)
    if isinstance(identity, str):
        return digest({"$": type(value).__name__, "is": identity})
    try:
        return digest(value)
    except NotData:
        if callable(value):
            return digest({"$": "code", "is": fingerprint(value).digest})
        raise UserError(
            f"a {type(value).__name__} has nothing by which to tell it from another", where=where, how="give it an `identity` (a string)"
        ) from None


def label(value: Any) -> Any:
    """How a value of a varied dimension is shown in a table: itself where it is plain, else its name."""
    if value is None or isinstance(value, str | int | float | bool):
        return value
    name = getattr(value, "name", None) or getattr(value, "__name__", None)
    if isinstance(name, str):
        return name
    try:
        return encode(value).decode()
    except NotData:
        return type(value).__name__


def price_of(arguments: Mapping[str, Any]) -> tuple[str | None, Price | None]:
    """(name of the model, its price) among the arguments of a call: the first that has a `price`, or else (None, None)."""
    for value in arguments.values():
        if hasattr(value, "price"):
            return str(label(value)), value.price
    return None, None


def _watched(path: str, name: str) -> Any:
    from pathlib import Path

    if not Path(path).is_file():
        raise UserError("the file that it watches is not there", where=f"{name}: {path}", how="give the path from the working folder")
    return Path(path)
