"""The provider of the environment as a model that is asked by messages."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pp_resources.errors import UserError
from pp_resources.models.chat import Messages, Reply
from pp_resources.models.price import Price
from pp_resources.provider import Provider, each, provider_from_env


@dataclass(frozen=True)
class ProviderModel:
    """What it costs nobody said."""

    provider: Provider
    price: Price | None = None

    @property
    def name(self) -> str:
        return self.provider.model

    @property
    def identity(self) -> str:
        return f"{self.provider.url} {self.provider.model}"

    def ask(self, messages: Messages, **how: Any) -> Reply:
        return self.provider.ask(messages, **how)

    def ask_all(
        self,
        asked: Sequence[Messages],
        *,
        schema: Mapping[str, Any] | None = None,
        temperature: float = 0.0,
        seed: int = 0,
        max_tokens: int | None = None,
    ) -> list[Reply]:
        how: dict[str, Any] = {"schema": schema, "temperature": temperature, "seed": seed, "max_tokens": max_tokens}
        return list(each(lambda messages: self.provider.ask(messages, **how), asked))


def chat_model_from_env(name: str) -> ProviderModel:
    """The model that PP_PROVIDER_URL and PP_PROVIDER_MODEL name. Raises UserError where they name another one, or none."""
    provider = provider_from_env()
    if provider is None or name not in (provider.model, f"provider/{provider.model}"):
        there = f"there is {provider.model}" if provider else "set PP_PROVIDER_URL and PP_PROVIDER_MODEL"
        raise UserError(f"no model {name!r}", where="model", how=f"{there}, or say base for the task's own")
    return ProviderModel(provider)
