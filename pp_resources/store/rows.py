"""What can be written to the store: plain rows, checked when they are made, each with an id under which it may be sent again."""

import hashlib
import math
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, NamedTuple

import orjson

from pp_resources.errors import UserError
from pp_resources.store.ids import now, uuid7

FeedbackKind = Literal["boolean", "float", "comment", "demonstration"]
VALUES = ("boolean", "float")
LARGEST = 1e6
_HARMLESS = {type(None), int, bool, dict, list, bytes}
JSON_FIELDS = {"tags", "decision", "chain", "payload", "data", "parents", "detail"}


class Ack(NamedTuple):
    """The row is on disk: in the store, or in the journal until the store is back (`seq` is then not known yet, nor whether it is new).

    `seq` is the number of a feedback, a decision, a change or (within its job) an event; `created` is False where the row was there before.
    """

    id: str
    seq: int | None = None
    created: bool = True
    journaled: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """What all rows share. Times are microseconds since 1970. Two rows of one id must say the same: `content` leaves out `unsaid`."""

    kind_name: ClassVar[str]
    unsaid: ClassVar[frozenset[str]] = frozenset({"at"})

    id: str = field(default_factory=uuid7)
    at: int = field(default_factory=now)

    def __post_init__(self) -> None:
        for name, value in self.__dict__.items():
            if type(value) in _HARMLESS or (type(value) is str and "\0" not in value):
                continue
            if isinstance(value, str) and "\0" in value:
                raise UserError("a NUL character", where=f"{self.kind_name}: {name}", how="leave it out: not every store can hold it")
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(
                    f"{value} is not a finite number", where=f"{self.kind_name}: {name}", how="leave it out where there is none"
                )

    def values(self) -> dict[str, Any]:
        """Column values, nested ones as JSON text."""
        try:
            return {k: orjson.dumps(v).decode() if k in JSON_FIELDS else v for k, v in self.__dict__.items()}
        except TypeError as error:
            raise UserError(f"not JSON: {error}", where=self.kind_name, how="give plain values") from error

    def content(self, values: dict[str, Any]) -> str:
        """Digest of what the row says (32 hex digits). Raises UserError for text that is not Unicode."""
        said = {k: v for k, v in values.items() if k not in self.unsaid and v is not None}
        try:
            text = orjson.dumps(said, default=bytes.hex)
        except TypeError as error:
            raise UserError(f"cannot be written: {error}", where=self.kind_name, how="give text in Unicode and plain numbers") from error
        return hashlib.blake2b(text, digest_size=16).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Inference(Row):
    """One answer of one variant. `input` and `output` are texts as they went and came (JSON outputs as JSON text); `valid` whether the
    output kept the schema, None where nothing was checked; `error` why there is no output.

    `cost` None means unpriced, which is not 0. `subject` is the person it belongs to, `shadow` an answer that nobody saw. `config` is the
    digest of the configuration in force, `decision` the weights that chose the variant (and the steps before an answer that came with
    some), `chain` the variants that failed before.
    """

    kind_name: ClassVar[str] = "inference"

    task: str
    variant: str
    input: str
    output: str | None = None
    episode: str | None = None
    valid: bool | None = None
    error: str | None = None
    latency_ms: float | None = None
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None
    confidence: float | None = None
    tags: dict[str, str] = field(default_factory=dict)
    subject: str | None = None
    shadow: bool = False
    config: str | None = None
    decision: dict[str, Any] = field(default_factory=dict)
    chain: list[Any] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Feedback(Row):
    """What somebody says of an answer: of one inference, of a whole episode, or of an `input` (and `answer`) that the store never saw.

    `key` is the sender's idempotency key, its own business and best prefixed by who it is. `supersedes` is the id of a feedback that this
    one corrects, whatever the times say. Of values on the same target and metric, whoever sent them, the last one by time counts: evidence
    is counted by target, not by vote. The source and subject are no part of the content: a retry from elsewhere is a retry.
    """

    kind_name: ClassVar[str] = "feedback"
    unsaid: ClassVar[frozenset[str]] = frozenset({"id", "at", "key", "source", "subject"})

    kind: FeedbackKind
    metric: str = ""
    inference: str | None = None
    episode: str | None = None
    task: str | None = None
    input: str | None = None
    answer: str | None = None
    value: float | None = None
    output: str | None = None
    comment: str | None = None
    source: str = ""
    subject: str | None = None
    key: str | None = None
    supersedes: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        where = "feedback"
        if (self.inference, self.episode, self.input).count(None) != 2 or (self.input is not None and not self.task):
            raise UserError("not exactly one target", where=where, how="give an inference, an episode, or a task with its input")
        if self.kind in VALUES and (self.value is None or not self.metric):
            raise UserError(f"a {self.kind} with value {self.value}", where=where, how="a boolean and a float carry a value and a metric")
        if self.value is not None and (abs(self.value) > LARGEST or (self.kind == "boolean" and self.value not in (0, 1))):
            raise UserError(f"{self.value} is out of range", where=where, how=f"0 or 1 for a boolean, up to {LARGEST:g} for a float")
        if (self.kind == "demonstration") != (self.output is not None) or (self.kind == "demonstration" and self.episode):
            raise UserError(f"a {self.kind} with output {self.output!r:.40}", where=where, how="a demonstration is an output for one input")
        if self.kind == "comment" and (not self.comment or self.value is not None or self.supersedes):
            raise UserError(
                "a comment without words, with a value, or in place of another", where=where, how="comments stand beside others"
            )

    @property
    def level(self) -> Literal["inference", "episode", "input"]:
        return "inference" if self.inference else "episode" if self.episode else "input"

    @property
    def slot(self) -> str:
        """Where only one feedback counts: a value by target and metric, a demonstration by target, a comment alone."""
        if self.kind == "comment":
            return f"comment:{self.id}"
        if self.level == "input":
            about = [self.task, self.input] if self.kind == "demonstration" else [self.task, self.input, self.answer]
            target = hashlib.blake2b(orjson.dumps(about), digest_size=16).hexdigest()
        else:
            target = str(self.inference or self.episode)
        return f"{self.level}:{target}:" + ("demonstration" if self.kind == "demonstration" else f"value:{self.metric}")
