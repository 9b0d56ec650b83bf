"""The `serving` section of a task: its variants, who shares the traffic, what happens when one cannot answer."""

import re
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, model_validator

from pp_assets.routing.next_step import Standards
from pp_assets.routing.policy import Routing
from pp_assets.task.spec_file import FieldProblem
from pp_resources.artifacts import SLUG
from pp_resources.errors import nearest

Slug = Annotated[str, Field(pattern=SLUG.pattern)]
Seconds = Annotated[float, Field(gt=0, le=3600)]
MOST_CANDIDATES = 16


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Timeouts(Strict):
    """Seconds. `total` holds for all tries of one variant together."""

    connect: Seconds = 5.0
    first_token: Seconds | None = Field(default=None, description="until the first byte of an answer; default: the total")
    between_tokens: Seconds = Field(default=15.0, description="between two pieces of a stream")
    total: Seconds = 30.0


class Retries(Strict):
    """Tries after the first, on 429, 5xx, time-outs and lost connections, before anything was answered. Pauses double, half by chance."""

    most: int = Field(default=2, ge=0, le=10)
    first_pause: Seconds = 0.2
    longest_pause: Seconds = 5.0


class Breaker(Strict):
    """An upstream that fails `failures` times in a row is left alone for `seconds`, then tried with one request."""

    failures: int = Field(default=5, ge=1)
    seconds: Seconds = 10.0


class _Own(Strict):
    """What runs on one's own machine has the price that one gives it."""

    cost: float | None = Field(default=None, ge=0, description="US dollars of an answer; default: unknown, which is not free")

    @model_validator(mode="after")
    def _priced_once(self) -> Self:
        if self.cost is not None and getattr(self, "of", None) is not None:
            raise FieldProblem("cost", "a remote variant has prices of its own", "leave it out")
        return self


class Package(_Own):
    """The package of a trained variant: the newest one, or the champion's where that is of this variant and the task's flywheel is enabled
    or the newest was taken back. A candidate is named nowhere: it gets copies as long as it is on trial."""

    kind: Literal["package"]
    recipe: Slug | None = Field(default=None, description="the trained variant, such as encoder-lora")
    stage: Literal["current", "champion"] | None = Field(
        default=None, description="current: always the newest package of the recipe; champion: the champion's, of whatever recipe it is"
    )
    neighbours: bool = Field(
        default=False, description="of an encoder: blend what the nearest worked examples say, in fields where validation rows show a gain"
    )

    @model_validator(mode="after")
    def _names_one(self) -> Self:
        if (self.recipe is None) != (self.stage == "champion"):
            raise FieldProblem("recipe", "a package is that of a recipe or the champion's", "give a recipe, or stage: champion without one")
        return self


class _Prompted(Strict):
    system_prompt: str | None = Field(default=None, description="instead of the task's")
    instruction_template: str | None = Field(default=None, description="instead of the task's")
    reasoned: bool = Field(
        default=False, description="ask for steps before the answer; who asked gets the answer alone, the steps are stored"
    )


class Prompt(_Prompted, _Own):
    """The task's base language model behind its prompt."""

    kind: Literal["prompt"]


class FewShot(_Prompted, _Own):
    """The same, or a remote variant, with examples of the training rows in the prompt."""

    kind: Literal["few_shot"]
    of: Slug | None = Field(default=None, description="a remote variant; default: the task's base language model")
    examples: int = Field(default=4, ge=1, le=64)


class Dicl(_Prompted, _Own):
    """The same with examples that are chosen for each input."""

    kind: Literal["dicl"]
    of: Slug | None = Field(default=None, description="a remote variant; default: the task's base language model")
    examples: int = Field(default=4, ge=1, le=64)
    max_distance: float | None = Field(default=None, gt=0, le=2, description="cosine distance beyond which an example is not shown")
    tokens: int | None = Field(
        default=None, ge=1, description="of all examples; default: what leaves half of a local model's context, else 2000"
    )


class Remote(_Prompted):
    """A model behind an OpenAI-compatible address. Without prices an answer is unpriced, which is not free."""

    kind: Literal["remote"] = "remote"
    provider: str | None = Field(
        default=None, description="of 'pp providers list': address, key, prices and terms, where they are not given"
    )
    url: str = Field(default="", description="up to /v1; default: the provider's")
    model: str = Field(min_length=1)
    key_env: str | None = Field(default=None, pattern=r"^[A-Z][A-Z0-9_]*$", description="environment variable that holds the key")
    price_in: float | None = Field(default=None, ge=0, description="US dollars for a million tokens")
    price_out: float | None = Field(default=None, ge=0)
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int | None = Field(default=None, ge=1)
    structured: Literal["json_schema", "json_object", "none"] = Field(
        default="json_schema", description="how an answer's form is asked for"
    )
    leaves_out: list[Literal["temperature", "seed", "max_tokens"]] = Field(default=[], description="fields that the server refuses")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    breaker: Breaker = Breaker()
    most_at_once: int = Field(default=256, ge=1, description="connections")

    @model_validator(mode="after")
    def _sound(self) -> Self:
        parts = urlsplit(self.url)
        if not self.url and self.provider is None:
            raise FieldProblem("url", "there is no address", "give url, or the provider by its name")
        if self.url and (parts.scheme not in ("http", "https") or not parts.hostname):
            raise FieldProblem("url", f"{self.url!r} is no address of a provider", "give one such as http://127.0.0.1:8000/v1")
        if (self.price_in is None) != (self.price_out is None):
            raise FieldProblem("price_in", "price_in and price_out go together", "give both or neither")
        return self


class BestOfN(Strict):
    """Several answers, of which the best one is given: valid ones first, then by confidence or by the task's contract."""

    kind: Literal["best_of_n"]
    candidates: list[Slug] = Field(min_length=2, max_length=MOST_CANDIDATES, description="variants; a remote one may stand several times")
    by: Literal["confidence", "contract"] = "confidence"


class Ensemble(Strict):
    """Several answers, voted on field by field."""

    kind: Literal["ensemble"]
    members: list[Slug] = Field(min_length=2, max_length=MOST_CANDIDATES)


class Cascade(Strict):
    """The first variant whose confidence reaches the threshold answers, else the last one."""

    kind: Literal["cascade"]
    steps: list[Slug] = Field(min_length=2, max_length=MOST_CANDIDATES)
    threshold: float = Field(ge=0, le=1)


Variant = Annotated[
    Package | Prompt | FewShot | Dicl | Remote | BestOfN | Ensemble | Cascade,
    Field(discriminator="kind"),
]


def parts_of(variant: Variant) -> list[str]:
    """The variants that one is made of."""
    if isinstance(variant, BestOfN):
        return variant.candidates
    if isinstance(variant, Cascade):
        return variant.steps
    return variant.members if isinstance(variant, Ensemble) else []


class Redact(Strict):
    """What is masked in a row before it is stored; answers are given as they are."""

    kinds: list[Literal["email", "iban", "card", "ip", "phone"]] = []
    patterns: dict[Slug, str] = Field(default={}, description="regular expressions by the name of their placeholder")

    @model_validator(mode="after")
    def _compiles(self) -> Self:
        for name, pattern in self.patterns.items():
            try:
                re.compile(pattern)
            except re.error as error:
                raise FieldProblem(f"patterns.{name}", f"no regular expression: {error}") from error
        return self


class Handoff(Strict):
    """Which answers go to a person as well, and how people work. Without a contract score or gates no answer is scored for this."""

    confidence: float | None = Field(default=None, ge=0, le=1, description="answers less sure than this, and those without a confidence")
    invalid: bool = Field(default=True, description="answers that break the schema")
    contract_gates: bool = Field(default=False, description="answers that a hard gate of the task's contract refuses, or cannot judge")
    contract_score: float | None = Field(default=None, ge=0, le=1, description="answers that score less by the contract, or not at all")
    audit: float = Field(default=0.0, ge=0, le=1, description="share of all other answers, by chance: how good is what nobody doubts?")
    most_open: int = Field(default=1000, ge=1, description="items that may wait, roughly: more are marked, but not queued")
    claim_minutes: float = Field(default=10.0, gt=0, le=1440, description="how long an item is kept for whoever took it")
    undo_minutes: float = Field(default=10.0, ge=0, le=1440, description="how long an answer may be taken back")


class Serving(Strict):
    """How a task is served. Without variants every packaged one is there; without routing the champion answers."""

    variants: dict[Slug, Variant] = Field(default={}, description="by name; default: every packaged variant")
    routing: Routing | None = None
    standards: Standards | None = Field(default=None, description="what the task asks of its quality in use, and of what it costs")
    fallbacks: list[Slug] = Field(default=[], description="asked in turn when the chosen variant cannot answer")
    timeout: Seconds = Field(default=30.0, description="for an answer, all variants together")
    redact: Redact = Redact()
    handoff: Handoff | None = None

    @model_validator(mode="after")
    def _names(self) -> Self:
        if self.standards and not (self.standards.metric or self.routing):
            raise FieldProblem("standards.metric", "without routing there is no metric to take", "name one that feedback carries")
        if self.variants:
            check_names(self, self.variants)
        return self


def shows_examples(serving: Serving) -> bool:
    """Whether a variant is served that answers by worked examples."""
    return any(isinstance(variant, Dicl) or getattr(variant, "neighbours", False) for variant in serving.variants.values())


def check_names(serving: Serving, variants: dict[str, Variant]) -> None:
    """Raise FieldProblem for a name that is no variant, or for a variant made of one that is itself made of others."""
    for name, variant in variants.items():
        if isinstance(variant, FewShot | Dicl) and variant.of is not None and not isinstance(variants.get(variant.of), Remote):
            remotes = [other for other, one in variants.items() if isinstance(one, Remote)]
            raise FieldProblem(f"variants.{name}.of", f"{variant.of!r} is no remote variant", nearest(variant.of, remotes))
        for part in parts_of(variant):
            field = f"variants.{name}"
            if part not in variants:
                raise FieldProblem(field, f"{part!r} is no variant", nearest(part, variants))
            if parts_of(variants[part]):
                raise FieldProblem(field, f"{part!r} is itself made of variants", "name those that it is made of")
    named = [("fallbacks", serving.fallbacks)]
    if serving.routing:
        named += [("routing.weights", list(serving.routing.weights)), ("routing.shadow", list(serving.routing.shadow))]
    for field, names in named:
        for name in names:
            if name not in variants:
                raise FieldProblem(field, f"{name!r} is no variant", nearest(name, variants))
