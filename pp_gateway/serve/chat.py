"""POST /v1/chat/completions for tasks: what OpenAI's clients send and read, with a task's variants behind it."""

import time
from collections.abc import AsyncIterator
from typing import Any

import orjson

from pp_gateway.serve.exchange import Http, Reply, event
from pp_gateway.serve.forms import form_of
from pp_gateway.serve.function import Call, Function
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.native import handoff_of
from pp_gateway.serve.passed_on import pass_on
from pp_gateway.serve.requests import ChatMessage, ChatRequest, read
from pp_gateway.serve.said import Asked, Failed, Refused
from pp_resources.json_schema import output_validator
from pp_resources.store.ids import MICRO, uuid7

FORWARDED = ("temperature", "top_p", "seed")
# What changes the meaning of an answer and what no task can do: better refused than passed over.
IMPOSSIBLE = ("tools", "functions", "audio", "logprobs", "top_logprobs", "prediction", "web_search_options")
JSON_OBJECT = output_validator({"type": "object"})


async def chat(gateway: Gateway, http: Http) -> Reply:
    """Answer a conversation by a task, or have a remote model answer it."""
    request = read(ChatRequest, http.body)
    remote = gateway.now.models.get(request.model)
    if remote is not None:
        return await pass_on(gateway, http, request, remote)
    name, _, variant = request.model.partition("::")
    function = gateway.function(name)
    pinned = variant or request.variant_name
    if pinned:
        function.known(pinned)
    call, form = _call(function, request, pinned or None)
    keep = not request.dryrun
    if request.stream:
        usage = bool(request.stream_options and request.stream_options.include_usage)
        return Reply(events=_chunks(gateway, function, call, form, keep, usage, request.model))
    with gateway.using():
        await gateway.answer(function, call, form=form, keep=keep)
    return Reply(orjson.dumps(_completion(call, request.model)))


def text_of(message: ChatMessage) -> str:
    """The text of a message. Raises Refused where it is none."""
    if isinstance(message.content, str):
        return message.content
    parts = [part.get("text") for part in message.content or () if part.get("type") == "text"]
    if not parts or len(parts) < len(message.content or ()) or not all(isinstance(part, str) for part in parts):
        raise Refused(400, "unsupported_content", "a task takes text", param="messages")
    return "\n".join(map(str, parts))


def _call(function: Function, request: ChatRequest, pinned: str | None) -> tuple[Call, Any]:
    """The call, and the form that its answer must have."""
    for name in IMPOSSIBLE:
        if (request.model_extra or {}).get(name):
            raise Refused(400, "unsupported_parameter", f"a task has no {name}", how="leave it out", param=name)
    if request.n not in (None, 1):
        raise Refused(400, "unsupported_parameter", "a task gives one answer", how="leave out n", param="n")
    last = next((message for message in reversed(request.messages) if message.role == "user"), None)
    if last is None:
        raise Refused(400, "no_user_message", "no message is the user's", param="messages")
    text = text_of(last)
    function.check(text)
    schema, form = None, None
    if request.response_format is not None and request.response_format.type == "json_schema":
        assert request.response_format.json_schema is not None
        schema = request.response_format.json_schema.json_schema
        # The task's own form needs no second look.
        form = None if schema == function.spec.output_schema else form_of(schema, "response_format")
    elif request.response_format is not None and request.response_format.type == "json_object":
        form = JSON_OBJECT
    params = {name: value for name in FORWARDED if (value := getattr(request, name)) is not None}
    if most := request.max_completion_tokens or request.max_tokens:
        params["max_tokens"] = most
    asked = Asked(text, time.monotonic() + function.serving.timeout, schema, params)
    tags = {**(request.metadata or {}), **request.tags}
    return Call(asked, request.episode_id or uuid7(), pinned, tags, request.subject or request.user), form


def _completion(call: Call, model: str) -> dict[str, Any]:
    said = call.said
    assert said is not None
    message = {"role": "assistant", "content": said.text, "refusal": None}
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": said.finish_reason}
    return _head(call, model, "chat.completion") | {"choices": [choice], "usage": usage_of(call)}


def _head(call: Call, model: str, kind: str) -> dict[str, Any]:
    """`id` is the one that feedback names; the other additions are fields that OpenAI does not have."""
    return {
        "id": call.id,
        "object": kind,
        "created": call.at // MICRO,
        "model": model,
        "episode_id": call.episode,
        "variant_name": call.variant,
        "valid": call.valid,
        "confidence": call.said.confidence if call.said else None,
        **handoff_of(call),
    }


def usage_of(call: Call) -> dict[str, Any] | None:
    """Token counts, None where a variant does not count."""
    said = call.said
    if said is None or said.tokens_in is None or said.tokens_out is None:
        return None
    total = said.tokens_in + said.tokens_out
    return {"prompt_tokens": said.tokens_in, "completion_tokens": said.tokens_out, "total_tokens": total, "cost": said.cost}


async def _chunks(gateway: Gateway, function: Function, call: Call, form: Any, keep: bool, usage: bool, model: str) -> AsyncIterator[bytes]:
    """Chunks as OpenAI sends them. The one that says why the answer ended comes when the row is on disk."""
    with gateway.using():
        delta: dict[str, Any] = {"role": "assistant"}
        async for piece in gateway.stream(function, call, form=form, keep=keep):
            yield _chunk(call, model, delta | {"content": piece}, None)
            delta = {}
        if call.said is None:
            raise Failed(502, "no_answer", "the stream ended without an answer")
        yield _chunk(call, model, delta, call.said.finish_reason)
        if usage:
            yield event(_head(call, model, "chat.completion.chunk") | {"choices": [], "usage": usage_of(call)})
        yield event(b"[DONE]")


def _chunk(call: Call, model: str, delta: dict[str, Any], reason: str | None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return event(_head(call, model, "chat.completion.chunk") | {"choices": [choice]})
