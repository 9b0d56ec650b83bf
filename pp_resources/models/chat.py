"""What every model is that is asked by messages, wherever it runs: here, on a server of one's own, at a provider."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict, Unpack

from pp_resources.models.price import Price

Messages = Sequence[Mapping[str, str]]


class Reply(NamedTuple):
    """One answer. Tokens are as the provider counted them when it was bought; `cached`: it costs nothing now. `finish_reason` is "stop",
    "length" when a limit cut it off, or the provider's own word for a refusal. `seconds` is what the answer took when it was bought, None
    where nobody measured it."""

    text: str
    tokens_in: int
    tokens_out: int
    cached: bool
    finish_reason: str = "stop"
    seconds: float | None = None


class AskOptions(TypedDict, total=False):
    """`schema`: the JSON Schema that the answer is asked to follow; check what it says. `temperature` 0 and `seed` 0 unless said: other
    answers to the same messages come with another seed. `max_tokens` None: as many as the model's own limit allows."""

    schema: Mapping[str, Any] | None
    temperature: float
    seed: int
    max_tokens: int | None


class ChatModel(Protocol):
    """`identity` tells it from any other model: address and name, or the digest of its weights. `price` None: nobody said what it costs,
    which is not free. Threads may share it."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def price(self) -> Price | None: ...

    def ask(self, messages: Messages, **how: Unpack[AskOptions]) -> Reply:
        """The answer to `messages` ({"role", "content"} each)."""
        ...

    def ask_all(self, asked: Sequence[Messages], **how: Unpack[AskOptions]) -> list[Reply]:
        """The answers to many, in their order: at once, or several at a time."""
        ...


class AsksMany(ABC):
    """Of a ChatModel that asks for one answer as for many."""

    @abstractmethod
    def ask_all(self, asked: Sequence[Messages], **how: Unpack[AskOptions]) -> list[Reply]: ...

    def ask(self, messages: Messages, **how: Unpack[AskOptions]) -> Reply:
        return self.ask_all([messages], **how)[0]
