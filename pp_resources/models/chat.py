"""What every model is that is asked by messages, wherever it runs: here, on a server of one's own, at a provider."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

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


class ChatModel(Protocol):
    """`identity` tells it from any other model: address and name, or the digest of its weights. `price` None: nobody said what it costs,
    which is not free. Threads may share it."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def price(self) -> Price | None: ...

    def ask(
        self,
        messages: Messages,
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        max_tokens: int | None = None,
    ) -> Reply:
        """The answer to `messages` ({"role", "content"} each), asked to follow `schema` where one is given: check what it says. Other
        answers to the same messages come with another `seed`."""
        ...

    def ask_all(
        self,
        asked: Sequence[Messages],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        max_tokens: int | None = None,
    ) -> list[Reply]:
        """The answers to many, in their order: at once, or several at a time."""
        ...
