"""Providers by name: address, key, how an answer's form is asked for, limits, patience, and prices where they are known.

What ships is a start: `providers.yaml` of an installation adds to it and changes it (`pp_assets/providers.py`).
"""

from datetime import date
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pp_resources.json_server import is_loopback
from pp_resources.models.price import Price

Form = Literal["json_schema", "json_object", "none"]  # of an answer, as a server can be asked for it: each is the next one's fallback
FORMS: tuple[Form, ...] = ("json_schema", "json_object", "none")
Seconds = Annotated[float, Field(gt=0, le=3600)]


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Limits(Strict):
    """What an account may ask of one model; where a limit is reached, requests wait."""

    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0, description="in and out")
    at_once: int = Field(default=8, ge=1, le=256, description="requests under way")


class Timeouts(Strict):
    """Seconds of one try."""

    connect: Seconds = 10.0
    total: Seconds = 120.0


class Retries(Strict):
    """Tries after the first, on 429, 5xx, time-outs, lost connections and answers that broke off. A pause is drawn between 0 and a bound
    that doubles (full jitter); what the server says in Retry-After comes before it."""

    most: int = Field(default=4, ge=0, le=20)
    first_pause: Seconds = 0.5
    longest_pause: Seconds = 30.0
    longest_wait: Seconds = Field(default=120.0, description="that a server may ask for; beyond it the request fails at once")


class Terms(Strict):
    """How a server is asked."""

    structured: Form = Field(default="json_schema", description="how an answer's form is asked for")
    leaves_out: list[Literal["temperature", "seed", "max_tokens"]] = Field(
        default=[], description="fields that the server refuses; a refusal of temperature or seed is learnt for as long as the process runs"
    )
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    limits: Limits = Limits()
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()


class Offer(Strict):
    """One model of a provider. Without prices it is unpriced, which is not free."""

    usd_in: float | None = Field(default=None, ge=0, description="US dollars for a million tokens")
    usd_out: float | None = Field(default=None, ge=0)
    since: date | None = Field(default=None, strict=False, description="since when that price is known")
    leaves_out: list[Literal["temperature", "seed", "max_tokens"]] = Field(default=[], description="beside those of the provider")

    @model_validator(mode="after")
    def _priced_whole(self) -> Self:
        if (self.usd_in is None) != (self.usd_out is None):
            raise ValueError("usd_in and usd_out go together")
        return self

    @property
    def price(self) -> Price | None:
        return None if self.usd_in is None or self.usd_out is None else Price(self.usd_in, self.usd_out, self.since)


class Listed(Terms):
    """A provider in the table."""

    url: str = Field(pattern=r"^https?://[^/\s@]+(/\S*)?$", description="up to the path before /chat/completions; no key in it")
    key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$", description="environment variable that holds the key")
    models: dict[str, Offer] = {}

    @property
    def needs_key(self) -> bool:
        """Whether nothing can be asked of it without its key. A server of one's own needs none unless it was started with one."""
        return self.key_env is not None and not is_loopback(urlsplit(self.url).hostname or "")

    def terms(self, model: str) -> Terms:
        """Those of one model."""
        own = {name: getattr(self, name) for name in Terms.model_fields}
        return Terms(**own | {"leaves_out": sorted({*self.leaves_out, *self.models.get(model, Offer()).leaves_out})})


# Prices are those of the shortest prompts. A model whose price depends on the length of the prompt within what tasks here send is left
# unpriced: a wrong sum is worse than none. What stands here was read on 2026-11-22; what is missing is said to be unpriced.
SHIPPED: dict[str, dict[str, Any]] = {
    "anthropic": {
        # docs.claude.com/en/api/openai-sdk: response_format and seed are ignored, so that a schema is told in words.
        "url": "https://api.anthropic.com/v1",
        "key_env": "ANTHROPIC_API_KEY",
        "structured": "none",
        "leaves_out": ["seed"],
        "models": {
            # Dated by changelogs of price tables that follow platform.claude.com/docs/en/about-claude/pricing (PromptFuel v1.0.21 and
            # v1.0.22, agent-telemetry v1.6.4). claude-haiku-5-5 is priced by the length of the prompt from 100,000 tokens on.
            # From claude-opus-4-7 and claude-sonnet-5 on a temperature is refused ("deprecated for this model": simstudioai/sim pull
            # request 5328, earendil-works/pi pull request 7961, both tried against the provider).
            "claude-opus-5-5": {"usd_in": 4.0, "usd_out": 20.0, "since": "2026-09-22", "leaves_out": ["temperature"]},
            "claude-sonnet-5-5": {"usd_in": 2.0, "usd_out": 10.0, "since": "2026-09-28", "leaves_out": ["temperature"]},
            "claude-haiku-5-5": {},
        },
    },
    "google": {
        # ai.google.dev/gemini-api/docs/openai; a seed is refused ("Unknown name \"seed\"": mcpchecker/mcpchecker pull request 188).
        "url": "https://generativelanguage.googleapis.com/v1beta/openai",
        "key_env": "GEMINI_API_KEY",
        "leaves_out": ["seed"],
        "models": {
            # ai.google.dev/gemini-api/docs/pricing as transcribed on 2026-10-07 (api-evangelist/deepmind, plans/).
            "gemini-3.5-flash": {"usd_in": 1.5, "usd_out": 9.0, "since": "2026-10-07"},
            "gemini-3.5-flash-lite": {"usd_in": 0.3, "usd_out": 2.5, "since": "2026-10-07"},
        },
    },
    "openai": {
        "url": "https://api.openai.com/v1",
        "key_env": "OPENAI_API_KEY",
        "max_tokens_field": "max_completion_tokens",  # max_tokens is refused by models that reason
        "models": {
            # github/docs, data/tables/copilot/models-and-pricing.yml, which has the provider's prices; dates are those of their release.
            "gpt-4.1": {"usd_in": 2.0, "usd_out": 8.0, "since": "2025-04-14"},
            "gpt-5-mini": {"usd_in": 0.25, "usd_out": 2.0, "since": "2025-08-07", "leaves_out": ["temperature"]},
        },
    },
    # Servers of one's own have the prices that one gives them.
    "vllm": {"url": "http://127.0.0.1:8000/v1", "key_env": "VLLM_API_KEY"},
    "ollama": {"url": "http://127.0.0.1:11434/v1"},  # honours json_schema from 0.5.0 on
    "llamacpp": {"url": "http://127.0.0.1:8080/v1"},
}
