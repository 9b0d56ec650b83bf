"""The OpenAPI document: request models as they are validated, and every status that a route gives."""

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pp_gateway.serve.requests import AnswerRequest, ChatRequest, EmbeddingsRequest, FeedbackRequest, InferenceRequest, NextRequest, Working

ERRORS = {
    "400": "the request is at fault",
    "401": "the key is missing or wrong",
    "403": "asked by another name than that of this machine",
    "404": "no such task, variant or model",
    "413": "too large",
    "415": "not JSON",
    "429": "too many requests; see Retry-After",
    "500": "a model has failed",
    "502": "a remote model has failed",
    "503": "overloaded, or nothing can be kept; see Retry-After",
    "504": "no answer in time",
}
NATIVE = {"type": "object", "properties": {"what": {"type": "string"}, "code": {"type": "string"}, "how": {"type": "string"}}}
NATIVE["properties"]["where"] = {"type": ["string", "null"]}  # type: ignore[index]
OPENAI = {"type": "object", "properties": {"message": {"type": "string"}, "type": {"type": "string"}, "code": {"type": ["string", "null"]}}}
NUMBER: dict[str, Any] = {"type": ["number", "null"]}
COUNT: dict[str, Any] = {"type": ["integer", "null"]}
TEXT: dict[str, Any] = {"type": "string"}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    models: list[type[BaseModel]] = [InferenceRequest, ChatRequest, EmbeddingsRequest, FeedbackRequest]
    models += [Working, NextRequest, AnswerRequest]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template="#/components/schemas/{model}")
    schemas = definitions["$defs"] | {"Error": _object(error=NATIVE), "OpenAIError": _object(error=OPENAI)}
    schemas |= {"Answer": _answer(), "ChatCompletion": _completion(), "Feedback": _object(feedback_id=TEXT, created={"type": "boolean"})}
    return {
        "openapi": "3.1.0",
        "info": {"title": "PromptPrecision gateway", "version": version("promptprecision")},
        "paths": {
            "/inference": {"post": _post("InferenceRequest", "Answer", "Answer a text by a task", events=True, more=("422",))},
            "/feedback": {
                "post": _post("FeedbackRequest", "Feedback", "What somebody says of an answer; 200: it is on disk", more=("409",))
            },
            "/v1/chat/completions": {
                "post": _post(
                    "ChatRequest", "ChatCompletion", "Chat completion by a task or a remote model", openai=True, events=True, more=("422",)
                )
            },
            "/v1/embeddings": {"post": _post("EmbeddingsRequest", None, "Sentence embeddings", openai=True)},
            "/v1/models": {"get": _get("All models", openai=True)},
            "/v1/models/{model}": {"get": _get("One model", openai=True) | {"parameters": [_path("model")]}},
            "/health": {"get": _get("Ready to answer, and what is kept where", free=True)},
            "/live": {"get": _get("Alive", free=True)},
            "/metrics": {"get": _get("Prometheus", free=True, kind="text/plain")},
            "/openapi.json": {"get": _get("This document", free=True)},
            "/reload": {"post": _reload()},
            **_queue(),
        },
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _queue() -> dict[str, Any]:
    """Work that was handed to people."""
    one = "/api/queue/items/{id}"
    asked = {name: {"name": name, "in": "query", "schema": TEXT} for name in ("task", "state", "limit")}
    found: dict[str, Any] = {
        "/api/queue": {"get": _get("Items of one state, and what waits") | {"parameters": list(asked.values())}},
        "/api/queue/events": {"get": _get("What waits by task, whenever it changes", kind="text/event-stream")},
        "/api/queue/measures": {"get": _get("What was answered, and how often people agree") | {"parameters": [asked["task"]]}},
        "/api/queue/next": {"post": _post("NextRequest", None, "Take the next item", more=("409",))},
        one: {"get": _get("One item") | {"parameters": [_path("id")]}},
        f"{one}/answer": {"post": _post("AnswerRequest", None, "The right output: a demonstration", more=("409", "422"))},
    }
    words = {
        "claim": "Take an item, or keep it longer",
        "release": "Give it back",
        "skip": "It needs no answer",
        "undo": "Take an end back",
    }
    found |= {f"{one}/{name}": {"post": _post("Working", None, text, more=("409",))} for name, text in words.items()}
    for path, methods in found.items():
        if path.startswith(f"{one}/"):
            methods["post"]["parameters"] = [_path("id")]
    return found


def _post(
    model: str, answer: str | None, summary: str, *, openai: bool = False, events: bool = False, more: tuple[str, ...] = ()
) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{answer}"} if answer else {"type": "object"}
    content: dict[str, Any] = {"application/json": {"schema": schema}}
    if events:
        content["text/event-stream"] = {"schema": TEXT}
    return {
        "summary": summary,
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{model}"}}}},
        "responses": {"200": {"description": "done", "content": content}} | _errors(openai, (*ERRORS, *more)),
    }


def _get(summary: str, *, openai: bool = False, free: bool = False, kind: str = "application/json") -> dict[str, Any]:
    schema = TEXT if kind == "text/plain" else {"type": "object"}
    found = {
        "summary": summary,
        "responses": {"200": {"description": "done", "content": {kind: {"schema": schema}}}}
        | _errors(openai, ("503",) if free else ("401", "403", "404", "429", "503")),
    }
    return found | {"security": []} if free else found


def _reload() -> dict[str, Any]:
    content = {"application/json": {"schema": {"type": "object"}}}
    done = {"200": {"description": "served from now on", "content": content}, "409": {"description": "not sound", "content": content}}
    return {
        "summary": "Read configuration, tasks and packages again",
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object", "maxProperties": 0}}}},
        "responses": done | _errors(False, ("400", "401", "403", "413", "415", "429")),
    }


def _errors(openai: bool, statuses: tuple[str, ...]) -> dict[str, Any]:
    ref = {"$ref": f"#/components/schemas/{'OpenAIError' if openai else 'Error'}"}
    words = ERRORS | {"409": "taken by another", "422": "no answer has the form that was asked for"}
    return {status: {"description": words[status], "content": {"application/json": {"schema": ref}}} for status in statuses}


def _answer() -> dict[str, Any]:
    output = _object(raw=TEXT, parsed={})
    usage = _object(input_tokens=COUNT, output_tokens=COUNT, cost=NUMBER)
    ids = {"inference_id": TEXT, "episode_id": TEXT, "variant_name": TEXT, "finish_reason": TEXT}
    said = {"valid": {"type": "boolean"}, "confidence": NUMBER, "latency_ms": {"type": "number"}}
    handoff = {"handoff": {"type": "boolean"}, "handoff_reason": {"type": ["string", "null"]}, "handoff_item": {"type": ["string", "null"]}}
    return _object(**ids, output=output, usage=usage, **said, **handoff)


def _completion() -> dict[str, Any]:
    return _object(id=TEXT, object={"const": "chat.completion"}, created={"type": "integer"}, model=TEXT, choices={"type": "array"})


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": TEXT}
