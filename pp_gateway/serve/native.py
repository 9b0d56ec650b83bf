"""POST /inference and POST /feedback."""

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from pp_gateway.serve.exchange import Http, Reply, event
from pp_gateway.serve.forms import form_of
from pp_gateway.serve.function import Call, Function
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.requests import FeedbackRequest, InferenceRequest, Messages, read
from pp_gateway.serve.said import Asked, Failed, Refused
from pp_resources.errors import UserError
from pp_resources.store.ids import uuid7
from pp_resources.store.rows import Feedback


async def inference(gateway: Gateway, http: Http) -> Reply:
    """Answer a text by a task."""
    request = read(InferenceRequest, http.body)
    form = form_of(request.output_schema)
    text = request.input if isinstance(request.input, str) else _last(request.input)
    function = gateway.function(request.function_name)
    function.check(text)
    if request.variant_name is not None:
        function.known(request.variant_name)
    params = request.params.model_dump(exclude_none=True)
    asked = Asked(text, time.monotonic() + function.serving.timeout, request.output_schema, params)
    call = Call(asked, request.episode_id or uuid7(), request.variant_name, request.tags, request.subject)
    if request.stream:
        return Reply(events=_events(gateway, function, call, form, not request.dryrun))
    with gateway.using():
        await gateway.answer(function, call, form=form, keep=not request.dryrun)
    return Reply(orjson.dumps(answer_of(call)))


def answer_of(call: Call) -> dict[str, Any]:
    """What is told of an answered call. `confidence` and `cost` are None where there is none."""
    said = call.said
    assert said is not None
    return {
        "inference_id": call.id,
        "episode_id": call.episode,
        "variant_name": call.variant,
        "output": {"raw": said.text, "parsed": call.parsed},
        "valid": call.valid,
        "confidence": said.confidence,
        "fields": dict(said.fields),
        "usage": {"input_tokens": said.tokens_in, "output_tokens": said.tokens_out, "cost": said.cost},
        "finish_reason": said.finish_reason,
        "fallbacks": call.chain,
        "latency_ms": call.latency_ms,
        **handoff_of(call),
    }


def handoff_of(call: Call) -> dict[str, Any]:
    """Whether a person should look at the answer before it is used, why, and under which id it is queued (None: it is not). An audit has a
    reason and an id, but nothing speaks against its answer."""
    doubt = call.doubt
    reason = doubt.reason if doubt else None
    return {"handoff": doubt is not None and doubt.handed_off, "handoff_reason": reason, "handoff_item": call.item}


async def feedback(gateway: Gateway, http: Http) -> Reply:
    """Take what somebody says of an answer: 200 means that it is on disk."""
    request = read(FeedbackRequest, http.body)
    row = _feedback_row(gateway, request, http)
    if request.dryrun:
        return Reply(orjson.dumps({"feedback_id": row.id, "created": False}))
    function = gateway.now.functions.get(request.function_name or "")
    redactor = function.redactor if function else gateway.now.redactor
    ack = await gateway.logbook.write(redactor.row(row))
    return Reply(orjson.dumps({"feedback_id": ack.id, "created": ack.created, "journaled": ack.journaled}))


def _feedback_row(gateway: Gateway, request: FeedbackRequest, http: Http) -> Feedback:
    key = request.idempotency_key or http.headers.get(b"idempotency-key", b"").decode("latin-1") or None
    function = gateway.function(request.function_name) if request.function_name is not None else None
    try:
        return Feedback(
            inference=request.inference_id,
            episode=request.episode_id,
            task=request.function_name,
            source=request.source or http.caller or "gateway",
            subject=request.subject,
            # What two callers call by one name is not one thing.
            key=None if key is None else f"{http.caller}:{key[:128]}",
            supersedes=request.supersedes,
            **_said(request, function),
        )
    except UserError as error:
        raise Refused(400, "wrong_feedback", error.what, how=error.how, param=error.where) from None


def _said(request: FeedbackRequest, function: Function | None) -> Mapping[str, Any]:
    value = request.value
    if request.metric_name == "comment":
        if not isinstance(value, str):
            raise Refused(400, "wrong_feedback", "a comment is text", param="value")
        return {"kind": "comment", "comment": value}
    if request.metric_name == "demonstration":
        output = _text_of(value)
        if function is not None:
            _check_demonstration(function, output)
        return {"kind": "demonstration", "output": output}
    if isinstance(value, bool):
        return {"kind": "boolean", "metric": request.metric_name, "value": float(value)}
    if isinstance(value, int | float):
        if abs(value) > 1e6:
            raise Refused(400, "wrong_feedback", "a number beyond a million", param="value")
        return {"kind": "float", "metric": request.metric_name, "value": float(value)}
    raise Refused(400, "wrong_feedback", f"{request.metric_name!r} is true or false, or a number", param="value")


def _text_of(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return orjson.dumps(value).decode()
    except TypeError as error:
        raise Refused(400, "wrong_demonstration", f"cannot be kept: {error}", param="value") from None


def _check_demonstration(function: Function, output: str) -> None:
    try:
        found = orjson.loads(output)
    except orjson.JSONDecodeError:
        raise Refused(400, "wrong_demonstration", "the demonstration is not JSON", param="value") from None
    problem = next(function.outputs.iter_errors(found), None)
    if problem:
        what = f"the demonstration breaks the schema: {problem.json_path}: {problem.message[:300]}"
        raise Refused(400, "wrong_demonstration", what, param="value")


async def _events(gateway: Gateway, function: Function, call: Call, form: Any, keep: bool) -> AsyncIterator[bytes]:
    """Pieces of the raw text, then the whole answer, then [DONE]."""
    with gateway.using():
        head = {"inference_id": call.id, "episode_id": call.episode}
        async for piece in gateway.stream(function, call, form=form, keep=keep):
            yield event(head | {"variant_name": call.variant, "raw": piece})
        if call.said is None:
            raise Failed(502, "no_answer", "the stream ended without an answer")
        yield event(answer_of(call))
        yield event(b"[DONE]")


def _last(asked: Messages) -> str:
    for message in reversed(asked.messages):
        if message.role == "user":
            return message.content
    raise Refused(400, "no_user_message", "no message is the user's", param="input.messages")
