"""The gateway as the application sees it: the `openai` client, and POST /feedback, which that client sends too."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urljoin

import openai
import orjson

EMBEDDING = "embedding"  # whatever encoder the gateway serves
SOURCE = "support-chat"


@dataclass(frozen=True)
class Answer:
    """What the function said. `output` is None where it was no JSON object; `confidence` where the variant has none. `handoff` is
    the gateway's own reason why a person should look; the answer is in its queue then."""

    inference: str
    episode: str
    variant: str
    output: Mapping[str, Any] | None
    valid: bool
    confidence: float | None
    handoff: str | None = None


class Gateway:
    """`client` has the gateway's address as its base URL and is otherwise as OpenAI made it: keys, time-outs and retries are its own.
    `function` is the task that understands messages, `answering` a model served there that writes replies, where there is one."""

    def __init__(self, client: openai.OpenAI, function: str, answering: str | None = None) -> None:
        self.client, self.function, self.answering = client, function, answering

    def ask(self, text: str, episode: str, subject: str | None = None) -> Answer:
        """Raises openai.APIError where there is no answer."""
        told = self._chat(self.function, [{"role": "user", "content": text}], episode, subject)
        output = _object(told.choices[0].message.content)
        more = told.model_extra or {}
        handoff = more.get("handoff_reason") if more.get("handoff") else None
        return Answer(told.id, more["episode_id"], more["variant_name"], output, more["valid"] is True, more.get("confidence"), handoff)

    def write(self, text: str, facts: str, episode: str, subject: str | None = None) -> str | None:
        """A reply in the words of the answering model; None where none is configured. A task answers with an object that has `reply`."""
        if self.answering is None:
            return None
        asked = [{"role": "system", "content": f"You answer for an online shop. What is known: {facts}"}, {"role": "user", "content": text}]
        said = self._chat(self.answering, asked, episode, subject).choices[0].message.content or ""
        written = (_object(said) or {}).get("reply", said)
        return written if isinstance(written, str) and written.strip() else None

    def similarity(self, first: str, second: str) -> float:
        """Cosine of the vectors of two texts, by the gateway's encoder."""
        a, b = (one.embedding for one in self.client.embeddings.create(model=EMBEDDING, input=[first, second]).data)
        return sum(x * y for x, y in zip(a, b))

    def send(self, body: Mapping[str, Any], path: str = "feedback") -> None:
        """Send feedback; it is on disk when this returns. Raises openai.APIError: nothing is swallowed, and with its idempotency key the
        same body may be sent again."""
        self.client.post(urljoin(str(self.client.base_url), f"../{path}"), cast_to=object, body=dict(body))

    def handed_off(self, inference: str, reason: str) -> dict[str, Any]:
        """The body that leaves an answer to a person, with the reason."""
        said = {"metric_name": "comment", "value": f"handed off: {reason}", "inference_id": inference, "source": SOURCE}
        return {**said, "function_name": self.function, "idempotency_key": f"{inference}:handed-off"}

    def _chat(self, model: str, messages: list[Any], episode: str, subject: str | None) -> Any:
        extra: dict[str, Any] = {"episode_id": episode, "tags": {"app": SOURCE}}
        if subject is not None:
            extra["subject"] = subject
        return self.client.chat.completions.create(model=model, messages=messages, extra_body=extra)


def refusal(error: openai.APIError) -> str:
    """Why there is no answer, in the gateway's own words where it gave some."""
    what = error.body.get("what") if isinstance(error.body, Mapping) else None
    return str(what or error.message)


def _object(text: str | None) -> dict[str, Any] | None:
    try:
        found = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return None
    return found if isinstance(found, dict) else None
