"""What a pipeline of the catalogue is: an id, what it is for, what may be set, what it would cost, and the function that runs it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from pp_assets.pipelines.report import Report
from pp_resources.errors import UserError, nearest

if TYPE_CHECKING:
    from pp_assets.pipeline import Pipeline

Complexity = Literal["low", "medium", "high"]


class Options(BaseModel):
    """What may be set of a pipeline; every option has a default and a description. Several values are a tuple."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


@dataclass(frozen=True)
class Estimate:
    """What a run would ask for: new calls of models (texts or messages, without those whose answers are kept), tokens of them, seconds of
    this machine. None is not known yet; `basis` says what each number rests on, or what is missing."""

    calls: int | None = None
    tokens: int | None = None
    seconds: float | None = None
    basis: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """`run(p, task, options)` does the work and returns its Report; `estimate` takes the same and asks no model. `inputs` are what must be
    there, with the command that makes it. `steps` are the names of the report's steps, in order. `trains`: runs wait for each other, as
    trainings do; `alarms`: a run that ends in "stop" has failed, so that it is told wherever failures are."""

    id: str
    purpose: str
    complexity: Complexity
    inputs: tuple[str, ...]
    steps: tuple[str, ...]
    options: type[Options]
    estimate: Callable[["Pipeline", str, Any], Estimate]
    run: Callable[["Pipeline", str, Any], Report]
    trains: bool = False
    alarms: bool = False

    @property
    def category(self) -> str:
        """The first words of the id: prompt-engineering, model-evaluation, model-comparison, fine-tuning."""
        return "-".join(self.id.split("-")[:2])

    @property
    def job(self) -> str:
        """Name of its Dagster job, which may have no hyphens."""
        return self.id.replace("-", "_")

    def read(self, given: Mapping[str, Any]) -> Options:
        """Options from JSON values. Raises UserError for one that is not known, with the nearest name, or a value that cannot be."""
        # A tuple comes as a list from JSON and from Dagster's configuration.
        plain = {name: tuple(value) if isinstance(value, list) else value for name, value in given.items()}
        try:
            return self.options.model_validate(plain)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            name = str(first["loc"][0])
            if first["type"] == "extra_forbidden":
                raise UserError(f"no option {name!r}", where=self.id, how=nearest(name, self.options.model_fields)) from None
            raise self._wrong(f"{name}: {first['msg']}") from None

    def read_words(self, words: Sequence[str]) -> Options:
        """Options from words NAME=VALUE; one of several values is given once for each."""
        given: dict[str, Any] = {}
        for word in words:
            name, equals, value = word.partition("=")
            if not equals or not name:
                raise UserError(f"{word!r} is no NAME=VALUE", where="--set", how="such as --set trials=5")
            field = self.options.model_fields.get(name)
            if field is not None and get_origin(field.annotation) is tuple:
                given[name] = (*given.get(name, ()), self._value(name, get_args(field.annotation)[0], value))
            elif name in given:
                raise UserError(f"{name} is given twice", where="--set", how="give it once")
            else:
                given[name] = self._value(name, field.annotation, value) if field else value
        return self.read(given)

    def _value(self, name: str, kind: Any, word: str) -> Any:
        """What a word means where a value of this kind is wanted."""
        try:
            return TypeAdapter(kind).validate_strings(word)
        except ValidationError as error:
            raise self._wrong(f"{name}: {error.errors(include_url=False)[0]['msg']}") from None

    def _wrong(self, what: str) -> UserError:
        return UserError(what, where=self.id, how=f"see 'pp pipeline show {self.id}'")
