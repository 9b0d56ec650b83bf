"""The OpenAPI document: request models as they are validated, and every status that a route gives."""

from importlib.metadata import version
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from pp_gateway import queue_openapi as queue
from pp_gateway.dashboard import openapi as dashboard
from pp_gateway.jobs import openapi as jobs
from pp_gateway.serve.openapi_parts import FLAG, NUMBER, TEXT, WHOLE, by_name, content, errors, get, listed, maybe, object_, path, post, ref
from pp_gateway.serve.requests import ChatRequest, EmbeddingsRequest, FeedbackRequest, InferenceRequest

ANY = {"type": "object"}


def document() -> dict[str, Any]:
    """OpenAPI 3.1."""
    models: list[type[BaseModel]] = [InferenceRequest, ChatRequest, EmbeddingsRequest, FeedbackRequest, *queue.MODELS, *jobs.MODELS]
    _, definitions = models_json_schema([(model, "validation") for model in models], ref_template="#/components/schemas/{model}")
    schemas = definitions["$defs"] | {"Answer": _answer(), "ChatCompletion": _completion(), "Health": _health(), **_errors()}
    schemas |= {"Feedback": object_(feedback_id=TEXT, created=FLAG)}
    schemas |= queue.schemas() | dashboard.schemas() | jobs.schemas()
    return {
        "openapi": "3.1.0",
        "info": {"title": "PromptPrecision gateway", "version": version("promptprecision")},
        "paths": {
            "/inference": {"post": post("InferenceRequest", ref("Answer"), "Answer a text by a task", events=True, more=("422",))},
            "/feedback": {
                "post": post("FeedbackRequest", ref("Feedback"), "What somebody says of an answer; 200: it is on disk", more=("409",))
            },
            "/v1/chat/completions": {
                "post": post(
                    "ChatRequest",
                    ref("ChatCompletion"),
                    "Chat completion by a task or a remote model",
                    openai=True,
                    events=True,
                    more=("422",),
                )
            },
            "/v1/embeddings": {"post": post("EmbeddingsRequest", ANY, "Sentence embeddings", openai=True)},
            "/v1/models": {"get": get("All models", ANY, openai=True)},
            "/v1/models/{model}": {"get": get("One model", ANY, openai=True, parameters=(path("model"),))},
            "/health": {"get": _ready()},
            "/live": {"get": get("Alive", ANY, free=True)},
            "/metrics": {"get": get("Prometheus", TEXT, free=True, kind="text/plain")},
            "/openapi.json": {"get": get("This document", ANY, free=True)},
            "/reload": {"post": _reload()},
            **dashboard.paths(),
            **queue.paths(),
            **jobs.paths(),
        },
        "components": {"schemas": schemas, "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}}},
        "security": [{"key": []}, {}],
    }


def _ready() -> dict[str, Any]:
    operation = get("Ready to answer, and what is kept where", ref("Health"), free=True)
    operation["responses"]["503"] = {"description": "nothing is served", "content": content(ref("Health"))}
    return operation


def _health() -> dict[str, Any]:
    trial = object_(role={"enum": ["candidate", "previous"]}, package=TEXT, of=TEXT, share=NUMBER)
    trial["description"] = (
        "The package that gets copies of this share of the traffic, and that of the champion that it is compared with, by digest."
    )
    function = object_(variants=listed(TEXT), trial=maybe(trial))
    log = object_(store=FLAG, why=maybe(TEXT), waiting=WHOLE, journal_bytes=WHOLE, lag_s=NUMBER, refused=WHOLE)
    learnt = object_(examples=WHOLE, error=TEXT, neighbours=by_name(NUMBER))
    return object_(
        live=FLAG,
        ready=FLAG,
        worker=WHOLE,
        config=TEXT,
        functions=by_name(function),
        models=listed(TEXT),
        skipped=listed(TEXT),
        reload=object_(ok=FLAG, at=TEXT, error=maybe(TEXT)),
        in_flight=WHOLE,
        waiting_texts=WHOLE,
        logging=TEXT,
        rows=by_name(WHOLE),
        log=maybe(log),
        weights_age_s=maybe(NUMBER),
        examples=by_name(learnt),
        upstreams_down=listed(TEXT),
    )


def _reload() -> dict[str, Any]:
    done = {"200": "served from now on", "409": "not sound"}
    return {
        "summary": "Read configuration, tasks and packages again",
        "requestBody": {"required": True, "content": content({"type": "object", "maxProperties": 0})},
        "responses": {status: {"description": told, "content": content(ANY)} for status, told in done.items()}
        | errors(False, ("400", "401", "403", "413", "415", "429")),
    }


def _errors() -> dict[str, Any]:
    """Refusals in either protocol."""
    native = {"type": "object", "properties": {"what": TEXT, "code": TEXT, "how": TEXT, "where": maybe(TEXT)}}
    openai = {"type": "object", "properties": {"message": TEXT, "type": TEXT, "code": maybe(TEXT)}}
    return {"Error": object_(error=native), "OpenAIError": object_(error=openai)}


def _answer() -> dict[str, Any]:
    output = object_(raw=TEXT, parsed={})
    usage = object_(input_tokens=maybe(WHOLE), output_tokens=maybe(WHOLE), cost=maybe(NUMBER))
    ids = {"inference_id": TEXT, "episode_id": TEXT, "variant_name": TEXT, "finish_reason": TEXT}
    said = {"valid": FLAG, "confidence": maybe(NUMBER), "latency_ms": NUMBER}
    handoff = {"handoff": FLAG, "handoff_reason": maybe(TEXT), "handoff_item": maybe(TEXT)}
    return object_(**ids, output=output, usage=usage, **said, **handoff)


def _completion() -> dict[str, Any]:
    return object_(id=TEXT, object={"const": "chat.completion"}, created={"type": "integer"}, model=TEXT, choices=listed(ANY))
