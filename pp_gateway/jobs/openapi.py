"""The job routes in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel

from pp_assets.flows.catalogue import KINDS, never
from pp_gateway.jobs.ask import JobRequest
from pp_gateway.jobs.records import STATES
from pp_gateway.serve.openapi_parts import (
    ERRORS,
    FLAG,
    NUMBER,
    STREAM,
    TEXT,
    WHOLE,
    content,
    event,
    listed,
    maybe,
    object_,
    path,
    query,
    ref,
)

MODELS: list[type[BaseModel]] = [JobRequest, *(kind.model for kind in KINDS.values())]
ID = path("id")
KEY = {"name": "Idempotency-Key", "in": "header", "schema": {"type": "string", "maxLength": 128}}
AFTER = query("after", WHOLE, "the last number that is known; also as Last-Event-ID")
FOLLOW = query("follow", {"enum": ["true", "false"]}, "false: only what is there")
LIST: list[dict[str, Any]] = [
    query("kind", {"enum": list(KINDS)}, "jobs of this kind alone"),
    query("state", listed({"enum": list(STATES)}), "jobs in one of these states alone"),
    query("limit", WHOLE | {"maximum": 1000}, "the most on a page"),
    query("before", TEXT, "`next` of the page before"),
]
COMMON = ("401", "403", "429", "503")
ASKED = ("400", "404", "409", "411", "413", "415", *COMMON)
WORDS = ERRORS | {
    "404": "no such task, or no such job of this caller",
    "409": "the idempotency key is that of another job",
    "411": "the request does not say how large it is",
    "429": "too many requests, or too many jobs that have not ended",
    "503": "the store is away, or too many streams are open; see Retry-After",
}


def schemas() -> dict[str, Any]:
    """What is told of jobs."""
    an_object = {"type": "object"}
    job = dict.fromkeys(("id", "kind", "caller", "created", "changed"), TEXT)
    job |= {"state": {"enum": list(STATES)}, "task": maybe(TEXT), "request": an_object, "last_event": WHOLE}
    job |= {"progress": maybe(an_object), "eta_s": maybe(NUMBER), "eta_from": maybe(TEXT), "spend": an_object}
    job |= {"result": maybe(an_object), "error": maybe(an_object)}
    return {
        "Job": object_(**job),
        "Jobs": object_(jobs=listed(ref("Job")), next=maybe(TEXT)),
        "JobStarted": object_(job=ref("Job"), created=FLAG),
        "AnswerAtOnce": object_(result=an_object, rows={"type": "array"}, job={"type": "null"}),
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
            either = {"anyOf": [ref("AnswerAtOnce"), ref("JobStarted")]}
            answers = started | {"200": {"description": "the answer, or the job of that key", "content": content(either)}}
        found[kind.path] = {"post": _post(kind.model.__name__, kind.summary, answers, ASKED)}
    return found


def _post(model: str, summary: str, answers: dict[str, Any], errors: tuple[str, ...]) -> dict[str, Any]:
    body = {"required": True, "content": content(ref(model))}
    return {"summary": summary, "parameters": [KEY], "requestBody": body} | _answers(answers, *errors)


def _stream(summary: str) -> dict[str, Any]:
    events = {"description": "server-sent events, numbered", "content": content(event(), STREAM)}
    none = {"description": "there are none, and will be none"}
    return {"summary": summary, "parameters": [ID, AFTER, FOLLOW]} | _answers({"200": events, "204": none}, "400", "404", *COMMON)


def _answers(done: dict[str, Any], *errors: str) -> dict[str, Any]:
    refused = content(ref("Error"))
    return {"responses": done | {status: {"description": WORDS[status], "content": refused} for status in sorted(errors)}}


def _content(description: str, name: str) -> dict[str, Any]:
    return {"description": description, "content": content(ref(name))}
