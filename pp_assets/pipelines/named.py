"""Models that are asked by messages, by what a person calls them."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pp_resources.errors import UserError
from pp_resources.models.chat import ChatModel, Messages, Reply
from pp_resources.models.price import Price
from pp_resources.provider import Provider, each, provider_from_env
from pp_resources.settings import Settings

PROVIDER = "provider"  # the one that the environment names


def model_named(name: str, settings: Settings) -> ChatModel:
    """`provider` for the one of PP_PROVIDER_URL and PP_PROVIDER_MODEL, or ADDRESS#MODEL. Raises UserError for another name, or where the
    environment names none."""
    if name == PROVIDER:
        found = provider_from_env()
        if found is None:
            raise UserError("the environment names no provider", where="PP_PROVIDER_URL", how="set it and PP_PROVIDER_MODEL")
        return Served(found.model, found)
    url, _, model = name.partition("#")
    if not model or not url.startswith(("http://", "https://")):
        raise UserError(f"no model {name!r}", where="models", how=f"give {PROVIDER!r}, or ADDRESS#MODEL such as http://127.0.0.1:8000/v1#m")
    cache = settings.home / "provider" / "answers.sqlite"
    return Served(name, Provider(url, model, key=os.environ.get("PP_PROVIDER_KEY"), cache=cache))


@dataclass(frozen=True)
class Served:
    """A Provider as a ChatModel; nobody said what it costs."""

    name: str
    provider: Provider
    price: Price | None = None

    @property
    def url(self) -> str:
        return self.provider.url

    @property
    def form(self) -> str:
        """How it is asked for the form of an answer."""
        return "json_schema"

    @property
    def identity(self) -> str:
        return f"{self.provider.url} {self.provider.model}"

    def ask(self, messages: Messages, **how: Any) -> Reply:
        began = time.perf_counter()
        reply = self.provider.ask(messages, **how)
        return reply if reply.cached else reply._replace(seconds=time.perf_counter() - began)

    def ask_all(self, asked: Sequence[Messages], **how: Any) -> list[Reply]:
        schema: Mapping[str, Any] | None = how.pop("schema", None)
        return list(each(lambda messages: self.ask(messages, schema=schema, **how), asked))
