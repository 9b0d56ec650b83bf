"""Rows beside inferences and feedback: examples, jobs, the queue for people, decisions."""

from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from pp_resources.errors import UserError
from pp_resources.store.rows import Row

QueueState = Literal["open", "claimed", "answered", "dismissed"]


@dataclass(frozen=True, kw_only=True)
class Example(Row):
    """A worked example for prompts: `embedding` is its input as float32 bytes made by `encoder`; `variant` "" serves all of the task.

    `origin` says where it came from (an inference, a feedback, a file), `parents` are the ids of what it was made from, `label` groups it
    for diversity, `score` is what the gate gave it.
    """

    kind_name: ClassVar[str] = "example"

    task: str
    input: str
    output: str
    embedding: bytes
    encoder: str
    variant: str = ""
    label: str = ""
    origin: str = ""
    parents: list[str] = field(default_factory=list)
    score: float | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.embedding or len(self.embedding) % 4:
            raise UserError(
                f"{len(self.embedding)} bytes are no float32 vector",
                where="example: embedding",
                how="give array.astype('float32').tobytes()",
            )


@dataclass(frozen=True, kw_only=True)
class ExampleChange(Row):
    """An example is taken out, or back in."""

    kind_name: ClassVar[str] = "example_change"

    example: str
    state: Literal["active", "removed"]
    reason: str
    who: str


@dataclass(frozen=True, kw_only=True)
class Job(Row):
    """Work that was asked for. `key` is the sender's idempotency key; state is `queued` until an event says otherwise."""

    kind_name: ClassVar[str] = "job"
    unsaid: ClassVar[frozenset[str]] = frozenset({"id", "at", "key"})

    kind: str
    payload: dict[str, Any] = field(default_factory=dict)
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class JobEvent(Row):
    """Something that a job did, numbered 1, 2, … within the job; `state`, where given, is the job's from now on."""

    kind_name: ClassVar[str] = "job_event"

    job: str
    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    state: str | None = None


@dataclass(frozen=True, kw_only=True)
class QueueItem(Row):
    """An inference that a person should look at: `reason` is a word, `detail` the numbers behind it, `subject` that of the inference."""

    kind_name: ClassVar[str] = "queue_item"

    inference: str
    task: str
    reason: str
    detail: dict[str, Any] = field(default_factory=dict)
    subject: str | None = None


@dataclass(frozen=True, kw_only=True)
class QueueChange(Row):
    """Somebody takes an item (`claimed`), gives it back (`open`), answers it or says that it needs none. The first end stands.

    A claim holds for whoever made it `until` a time (microseconds; None: until it is given back). `agrees` is whether an answer is the
    model's. Whoever ended an item may take that back by a claim that `undoes` that change, by its id.
    """

    kind_name: ClassVar[str] = "queue_change"

    item: str
    state: QueueState
    by: str
    answer: str | None = None
    until: int | None = None
    agrees: bool | None = None
    undoes: str | None = None


@dataclass(frozen=True, kw_only=True)
class Decision(Row):
    """What the machinery decided (`weights`, `promotion`, `rollback`, …) with the numbers that it saw."""

    kind_name: ClassVar[str] = "decision"

    task: str
    kind: str
    data: dict[str, Any]
