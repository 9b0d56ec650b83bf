"""Models as steps ask them: by name, counted, bound to a schema, corrected, and behind a prompt with many inputs."""

import json
import os
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Unpack

from pp_assets.evaluation.outputs import strict_json
from pp_assets.providers import LOCAL, chat_model
from pp_resources.errors import UserError
from pp_resources.fingerprint import digest
from pp_resources.json_schema import output_validator
from pp_resources.models.chat import AskOptions, AsksMany, ChatModel, Messages, Reply
from pp_resources.models.interface import Prediction
from pp_resources.settings import Settings

SHOWN = 300  # characters of an answer in an error


class Models:
    """The models of one run by name, such as `anthropic/claude-sonnet-5-5`, each opened once, so that a budget is one of the run. Where
    PP_PROVIDER_URL is set, that provider answers for every name, local ones aside."""

    def __init__(self) -> None:
        self._open: dict[str, ChatModel] = {}

    def named(self, name: str) -> ChatModel:
        """Raises UserError where it cannot be asked."""
        settings = Settings.from_env()
        if os.environ.get("PP_PROVIDER_URL") and not name.startswith(f"{LOCAL}/"):
            name = os.environ.get("PP_PROVIDER_MODEL", name)
        if name not in self._open:
            self._open[name] = chat_model(name, settings)
        return self._open[name]


class Counted(AsksMany):
    """A ChatModel that counts what a step asks of it. `cost` is None where an answer was bought and nobody says what tokens cost."""

    def __init__(self, model: ChatModel) -> None:
        self.model, self.name, self.identity, self.price = model, model.name, model.identity, model.price
        self.asked = self.cached = self.tokens_in = self.tokens_out = 0
        self._lock = threading.Lock()

    def ask_all(self, asked: Sequence[Messages], **options: Unpack[AskOptions]) -> list[Reply]:
        found = self.model.ask_all(asked, **options)
        self._count(found)
        return found

    @property
    def cost(self) -> float | None:
        if not self.tokens_in + self.tokens_out:
            return 0.0
        return None if self.price is None else self.price.of(self.tokens_in, self.tokens_out)

    def _count(self, replies: Sequence[Reply]) -> None:
        with self._lock:
            self.asked += len(replies)
            self.cached += sum(reply.cached for reply in replies)
            self.tokens_in += sum(reply.tokens_in for reply in replies if not reply.cached)
            self.tokens_out += sum(reply.tokens_out for reply in replies if not reply.cached)


@dataclass(frozen=True)
class How:
    """How a model is asked. `tries`: how often that was in vain; other answers to the same messages come with other seeds."""

    temperature: float = 0.0
    max_tokens: int | None = None
    seed: int = 0
    corrections: int = 2
    tries: int = 0


def system_of(role: str, instruction: str = "", form: Mapping[str, Any] | None = None) -> str:
    """What a model is told before the question. The form stands there too, since not every server holds to a schema."""
    parts = [f"You are the {role.replace('_', ' ')}." if role else "", instruction.strip()]
    if form is not None:
        parts.append(f"Answer with JSON alone, by this JSON Schema: {json.dumps(form, ensure_ascii=False, separators=(',', ':'))}")
    return "\n\n".join(filter(None, parts))


def messages_of(system: str, user: str) -> list[dict[str, str]]:
    return [*([{"role": "system", "content": system}] if system else []), {"role": "user", "content": user}]


def ask_text(model: Counted, messages: Messages, how: How) -> str:
    """Raises UserError for an answer that was cut off or is empty."""
    reply = model.ask(messages, temperature=how.temperature, seed=how.seed + how.tries, max_tokens=how.max_tokens)
    if not reply.text.strip():
        raise UserError(f"the answer is empty ({reply.finish_reason})", where=model.name, how="ask for something else, or set max_tokens")
    return reply.text


def ask_json(model: Counted, messages: Messages, form: Mapping[str, Any], how: How, check: Any = None) -> Any:
    """A JSON value by `form`. An answer that breaks it, or of which `check(value)` says what is wrong, is asked for again with the error,
    up to `how.corrections` times; then UserError."""
    talk, error = list(messages), ""
    first = how.seed + how.tries * (how.corrections + 1)
    for attempt in range(how.corrections + 1):
        reply = model.ask(talk, schema=form, temperature=how.temperature, seed=first + attempt, max_tokens=how.max_tokens)
        try:
            value = strict_json(unfenced(reply.text))
            problem = next((f"{e.json_path}: {e.message}"[:SHOWN] for e in output_validator(form).iter_errors(value)), "")
            error = problem or (check(value) if check else "")
        except ValueError as fault:
            error = f"not JSON: {fault}" + (", cut off by max_tokens" if reply.finish_reason == "length" else "")
        if not error:
            return value
        again = f"That cannot be used: {error}. Answer again, with JSON alone, by the schema."
        talk = [*messages, {"role": "assistant", "content": reply.text or " "}, {"role": "user", "content": again}]
    what = f"the answer breaks its schema {how.corrections + 1} times: {error} (the last: {reply.text[:SHOWN]!r})"
    raise UserError(what, where=model.name, how="raise options.corrections, or ask another model")


def unfenced(text: str) -> str:
    """An answer without the code fence that models like to put around JSON."""
    text = text.strip()
    if text.startswith("```") and text.endswith("```") and "\n" in text:
        return text[text.index("\n") + 1 : -3].strip()
    return text


@dataclass(frozen=True)
class Behind:
    """A model behind a prompt, asked of many inputs: what `KeptPredictor` keeps the answers of. `user` is what is asked, with the input in
    the place of `{input}`."""

    model: Counted
    system: str
    user: str
    form: Mapping[str, Any]
    how: How

    @property
    def name(self) -> str:
        return self.model.name

    @property
    def identity(self) -> str:
        said = [self.system, self.user, self.form, self.how.temperature, self.how.max_tokens, self.how.seed]
        return f"{self.model.identity} behind {digest(said, ordered=True)}"

    def predict(self, texts: Sequence[str], *, distributions: bool = False) -> list[Prediction]:  # noqa: ARG002
        asked = [messages_of(self.system, self.user.replace("{input}", text)) for text in texts]
        how = self.how
        replies = self.model.ask_all(asked, schema=self.form, temperature=how.temperature, seed=how.seed, max_tokens=how.max_tokens)
        return [
            Prediction(
                unfenced(one.text),
                tokens_in=one.tokens_in,
                tokens_out=one.tokens_out,
                latency_ms=(one.seconds or 0.0) * 1000,
                finish_reason=one.finish_reason,
            )
            for one in replies
        ]
