"""The job routes in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from pp_assets.flows.catalogue import KINDS, never
from pp_gateway.jobs.ask import JobRequest
from pp_gateway.jobs.records import STATES
from pp_gateway.serve.openapi_parts import STREAM, content, event

MODELS: list[type[BaseModel]] = [JobRequest, *(kind.model for kind in KINDS.values())]
TEXT: dict[str, Any] = {"type": "string"}
WHOLE: dict[str, Any] = {"type": "integer", "minimum": 0}
ID = {"name": "id", "in": "path", "required": True, "schema": TEXT}
KEY = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128}}
AFTER = {"name": "after", "in": "query", "schema": WHOLE, "description": "the last number that is known; also as Last-Event-ID"}
FOLLOW = {"name": "follow", "in": "query", "schema": {"enum": ["true", "false"]}, "description": "false: only what is there"}
LIST: list[dict[str, Any]] = [
    {"name": "kind", "in": "query", "schema": {"enum": list(KINDS)}},
    {"name": "state", "in": "query", "schema": {"type": "array", "items": {"enum": list(STATES)}}},
    {"name": "limit", "in": "query", "schema": WHOLE | {"maximum": 1000}},
    {"name": "before", "in": "query", "schema": TEXT, "description": "`next` of the page before"},
]
COMMON = ("401", "403", "429", "503")
ASKED = ("400", "404", "409", "411", "413", "415", *COMMON)
WORDS = {
    "400": "the request is at fault",
    "401": "the key is missing or wrong",
    "403": "asked by another name than that of this machine",
    "404": "no such task, or no such job of this caller",
    "409": "the idempotency key is that of another job",
    "411": "the request does not say how large it is",
    "413": "too large",
    "415": "not JSON",
    "429": "too many requests, or too many jobs that have not ended",
    "503": "the store is away, or too many streams are open; see Retry-After",
}


def schemas() -> dict[str, Any]:
    """What is told of jobs."""
    some = lambda kind: {"type": [kind, "null"]}  # noqa: E731
    job = dict.fromkeys(("id", "kind", "caller", "created", "changed"), TEXT)
    job |= {"state": {"enum": list(STATES)}, "task": some("string"), "request": {"type": "object"}, "last_event": WHOLE}
    job |= {"progress": some("object"), "eta_s": some("number"), "eta_from": some("string"), "spend": {"type": "object"}}
    job |= {"result": some("object"), "error": some("object")}
    ref = {"$ref": "#/components/schemas/Job"}
    page = {"jobs": {"type": "array", "items": ref}, "next": some("string")}
    quick = {"result": {"type": "object"}, "rows": {"type": "array"}, "job": {"type": "null"}}
    return {
        "Job": _object(job),
        "Jobs": _object(page),
        "JobStarted": _object({"job": ref, "created": {"type": "boolean"}}),
        "AnswerAtOnce": _object(quick),
    }


def paths() -> dict[str, Any]:
    """All of them."""
    started = {"202": _content("a job, which is new", "JobStarted"), "200": _content("the job of that key", "JobStarted")}
    found: dict[str, Any] = {
        "/jobs": {
            "get": {"summary": "Jobs, the newest first", "parameters": LIST}
            | _answers({"200": _content("a page", "Jobs")}, "400", *COMMON),
            "post": _post("JobRequest", "Start a job of any kind", started, ASKED),
        },
        "/jobs/{id}": {
            "get": {"summary": "State, progress, ETA, spend, result or error", "parameters": [ID]}
            | _answers({"200": _content("the job", "Job")}, "404", *COMMON)
        },
        "/jobs/{id}/cancel": {
            "post": {"summary": "End a job", "parameters": [ID]}
            | _answers({"200": _content("the job; it ends soon, or has ended", "Job")}, "404", "411", "413", *COMMON)
        },
        "/jobs/{id}/messages": {"get": _stream("What a job tells: state, message, progress, spend, result, error")},
        "/jobs/{id}/data": {"get": _stream("The rows that a job makes, as soon as they are there")},
    }
    for kind in KINDS.values():
        answers = started
        if kind.quick is not never:
            one_of = [{"$ref": f"#/components/schemas/{name}"} for name in ("AnswerAtOnce", "JobStarted")]
            answers = started | {"200": {"description": "the answer, or the job of that key", "content": _json({"anyOf": one_of})}}
        found[kind.path] = {"post": _post(kind.model.__name__, kind.summary, answers, ASKED)}
    return found


def _post(model: str, summary: str, answers: dict[str, Any], errors: tuple[str, ...]) -> dict[str, Any]:
    body = {"required": True, "content": _json({"$ref": f"#/components/schemas/{model}"})}
    return {"summary": summary, "parameters": [KEY], "requestBody": body} | _answers(answers, *errors)


def _stream(summary: str) -> dict[str, Any]:
    events = {"description": "server-sent events, numbered", "content": content(event(), STREAM)}
    none = {"description": "there are none, and will be none"}
    return {"summary": summary, "parameters": [ID, AFTER, FOLLOW]} | _answers({"200": events, "204": none}, "400", "404", *COMMON)


def _answers(done: dict[str, Any], *errors: str) -> dict[str, Any]:
    refused = {"$ref": "#/components/schemas/Error"}
    return {"responses": done | {status: {"description": WORDS[status], "content": _json(refused)} for status in sorted(errors)}}


def _content(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": _json({"$ref": f"#/components/schemas/{name}"})}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties)}
