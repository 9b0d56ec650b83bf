"""A model behind a wording: what a search asks, and what is served when the wording wins."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from pp_assets.evaluation.outputs import strict_json
from pp_assets.kept import Model
from pp_assets.prompts.wording import ANSWER, MOST_STEPS, REASONING, Wording
from pp_assets.task.spec import TaskSpec
from pp_resources.fingerprint import digest
from pp_resources.json_schema import dump_output
from pp_resources.models.chat import ChatModel
from pp_resources.models.interface import Prediction
from pp_resources.models.price import Price

if TYPE_CHECKING:
    from pp_assets.base_systems import BareModel, Base

STEP_TOKENS = 40  # of a step of a reasoning, on average, in the budget of an answer


class Target(Protocol):
    """What prompts are tried on."""

    @property
    def name(self) -> str: ...

    @property
    def identity(self) -> str: ...

    @property
    def price(self) -> Price | None: ...

    def behind(self, spec: TaskSpec, wording: Wording, name: str) -> Model:
        """The model behind a wording, as one whose answers can be kept; its `price` is that of the target."""
        ...

    def tokens(self, text: str) -> int:
        """How many tokens a text has; an estimate where the tokenizer is not at hand."""
        ...


@dataclass(frozen=True)
class ChatTarget:
    """A model that is asked by messages. `budget` is the most tokens of an answer, without its reasoning."""

    model: ChatModel
    budget: int | None = None

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        return self.model.identity

    @property
    def price(self) -> Price | None:
        return self.model.price

    def behind(self, spec: TaskSpec, wording: Wording, name: str) -> "Asked":
        return Asked(self.model, spec, wording, name, self.budget)

    def tokens(self, text: str) -> int:
        return -(-len(text) // 4)  # English takes about four characters a token


@dataclass(frozen=True)
class Asked:
    """A ChatModel behind a wording."""

    model: ChatModel
    spec: TaskSpec
    wording: Wording
    name: str
    budget: int | None = None

    @property
    def price(self) -> Price | None:
        return self.model.price

    @cached_property
    def identity(self) -> str:
        return f"{self.model.identity} behind {self.wording.digest(self.spec)} {self._most}"

    @property
    def _most(self) -> int | None:
        return None if self.budget is None else budget_of(self.wording, self.budget)

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:  # noqa: ARG002
        began = time.perf_counter()
        asked = [self.wording.messages(self.spec, text) for text in texts]
        replies = self.model.ask_all(asked, schema=self.wording.schema(self.spec), max_tokens=self._most)
        each = (time.perf_counter() - began) * 1000 / max(1, len(texts))
        return [
            unwrapped(
                Prediction(
                    one.text,
                    tokens_in=one.tokens_in,
                    tokens_out=one.tokens_out,
                    latency_ms=each if one.seconds is None else one.seconds * 1000,
                    finish_reason=one.finish_reason,
                ),
                self.wording,
                self.spec.output_schema,
            )
            for one in replies
        ]


@dataclass(frozen=True)
class BaseTarget:
    """The base language model of a task on this machine, bound to the schema where `bound`."""

    base: "Base"
    model_id: str
    budget: int
    bound: bool = True
    price = Price(0.0, 0.0)  # no token is paid for

    @property
    def name(self) -> str:
        return self.model_id

    @cached_property
    def identity(self) -> str:
        from pp_resources.device import device_kind

        return digest([self.base.weights, device_kind(self.base.device), self.bound, self.budget], ordered=True)

    def behind(self, spec: TaskSpec, wording: Wording, name: str) -> "Behind":
        from pp_assets.base_systems import BareModel

        budget = budget_of(wording, self.budget)
        return Behind(BareModel(name, self.base, wording.schema(spec), wording.prompt(spec), self.bound, budget), spec, wording)

    def tokens(self, text: str) -> int:
        return len(self.base.tokenizer(text, add_special_tokens=False)["input_ids"])


@dataclass(frozen=True)
class Behind:
    """A base model behind a wording."""

    bare: "BareModel"
    spec: TaskSpec
    wording: Wording
    price = Price(0.0, 0.0)

    @property
    def name(self) -> str:
        return self.bare.name

    @property
    def identity(self) -> str:
        return self.bare.identity

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:
        said = self.bare.predict(texts, distributions=distributions and not self.wording.reasoned)
        return [unwrapped(one, self.wording, self.spec.output_schema) for one in said]


def budget_of(wording: Wording, answer: int) -> int:
    """Tokens of all that is said, where `answer` are those of the answer alone."""
    return answer + (MOST_STEPS * STEP_TOKENS if wording.reasoned else 0)


def unwrapped(said: Prediction, wording: Wording, schema: Mapping[str, Any]) -> Prediction:
    """The answer without the steps that came before it, which are its `reasoning`; what is no such object stays as it is. Its confidence is
    that of its values: the probability of all that was said would be that of the words of the steps, too."""
    if not wording.reasoned:
        return said
    try:
        whole = strict_json(said.text)
    except ValueError:
        return said
    if not isinstance(whole, dict) or ANSWER not in whole:
        return said
    steps = whole.get(REASONING)
    told = tuple(map(str, steps)) if isinstance(steps, list) else ()
    fields = {path.removeprefix(f"{ANSWER}."): one for path, one in said.fields.items() if path.startswith(f"{ANSWER}.")}
    sure = math.prod(fields.values()) if fields else None
    return replace(said, text=dump_output(schema, whole[ANSWER]), confidence=sure, fields=fields, reasoning=told)
