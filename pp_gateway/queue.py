"""The queue over HTTP: what waits, taking, answering, taking back; and the page at /queue, which asks for all of it here.

Belongs here: requests and answers. Does not: the rules of the work (`pp_assets.serving.desk`).
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import suppress
from time import monotonic
from typing import Any, Literal

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pp_assets.serving.desk import Desk, Missing, Taken, WrongAnswer, as_plain
from pp_assets.serving.desk_measures import measures
from pp_assets.serving.spec import Handoff
from pp_gateway.pages import page
from pp_gateway.serve.exchange import event
from pp_gateway.serve.function import Function
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.requests import AnswerRequest, NextRequest, Working, read
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import UserError
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.ids import iso
from pp_resources.store.opened import Store
from pp_resources.store.read_queue import STATES, Work, list_work, waiting

FREE = ("/queue",)
HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
TICK, BREATH = 1.0, 10.0  # seconds between looks at the store, and between signs of life on a line where nothing happens
LONGEST = 20.0  # seconds of one line; whoever follows opens another: a server that ends waits for lines to end
PREVIEW = 160


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, HEADERS, "application/json")


def _desk(request: Request) -> Desk:
    gateway: Gateway = request.state.gateway
    if gateway.recorder is None:
        raise Failed(503, "no_store", "this gateway keeps nothing")
    return Desk(gateway.recorder.store)


def _functions(request: Request, task: str | None) -> dict[str, Function]:
    gateway: Gateway = request.state.gateway
    return dict(gateway.now.functions) if task is None else {task: gateway.function(task)}


def _rules(function: Function | None) -> Handoff:
    return (function.serving.handoff if function else None) or Handoff()


async def _read(request: Request, model: type[Any]) -> Any:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, "not_json", "the request is not JSON", how="send application/json")
    return read(model, await request.body())


def _who(request: Request, said: str) -> str:
    """The key's name and the person's: nobody can act for people of another key."""
    name, caller = said.strip(), str(request.state.caller)
    if not name and not caller:
        raise Refused(400, "no_name", "the request does not say who works", how='give "by"', param="by")
    return f"{caller}:{name}" if caller and name else caller or name


async def _done(work: Callable[..., Any], *given: Any, **named: Any) -> Any:
    """Call what reads and writes the store, beside the event loop. Raises Failed."""
    try:
        return await asyncio.to_thread(work, *given, **named)
    except StoreUnavailable as error:
        raise Failed(503, "no_store", str(error), retry_after=5) from None
    except Missing as error:
        raise Refused(404, "unknown_item", error.what, how=error.how) from None
    except Taken as error:
        raise Refused(409, "taken", error.what, how=error.how) from None
    except WrongAnswer:
        raise
    except UserError as error:
        raise Refused(400, "wrong_request", error.what, how=error.how, param=error.where) from None


def _shown(request: Request, item: Work, by: str = "") -> dict[str, Any]:
    """An item with all that a person needs to answer it."""
    function = _functions(request, None).get(item.task)
    rules = _rules(function)
    told = as_plain(item) | {"mine": bool(by) and item.by == by and item.state == "claimed"}
    schema = function.spec.output_schema if function else None
    return {"item": told, "schema": schema, "claim_minutes": rules.claim_minutes, "undo_minutes": rules.undo_minutes}


async def listed(request: Request) -> Response:
    """Items of one state, without their texts but for the beginning, and what waits by task."""
    task, state = request.query_params.get("task"), request.query_params.get("state", "open")
    if state not in STATES:
        raise Refused(400, "wrong_request", f"{state!r} is no state", how=f"one of {', '.join(STATES)}", param="state")
    limit = request.query_params.get("limit", "50")
    if not (limit.isascii() and limit.isdigit() and 1 <= int(limit[:9]) <= 500):
        raise Refused(400, "wrong_request", f"{limit[:20]!r} is no limit", how="1 to 500", param="limit")
    functions, store = _functions(request, task), _desk(request).store
    items = await _done(list_work, store, list(functions), state=state, limit=int(limit[:9])) if store.exists else []
    names = ("id", "task", "reason", "state", "by", "at", "changed", "until", "confidence", "agrees")
    rows = [{name: plain[name] for name in names} | {"input": plain["input"][:PREVIEW]} for plain in map(as_plain, items)]
    return _json({"tasks": sorted(functions), "items": rows, "waiting": await _counts(store, functions)})


async def one(request: Request) -> Response:
    """One item."""
    item = await _done(_desk(request).look, request.path_params["id"])
    return _json(_shown(request, item))


async def next_(request: Request) -> Response:
    """Take what comes next; `item` is null where nothing waits."""
    asked: NextRequest = await _read(request, NextRequest)
    functions, by = _functions(request, asked.task), _who(request, asked.by)
    rules = {name: _rules(function) for name, function in functions.items()}
    item = await _done(_desk(request).next, rules, by, asked.passed)
    return _json({"item": None} if item is None else _shown(request, item, by))


def _changing(work: Literal["claim", "release", "skip", "undo"]) -> Callable[[Request], Awaitable[Response]]:
    async def change(request: Request) -> Response:
        asked: Working = await _read(request, Working)
        desk, by, id = _desk(request), _who(request, asked.by), request.path_params["id"]
        item: Work = await _done(desk.look, id)
        rules = [_rules(_functions(request, None).get(item.task))] if work in ("claim", "undo") else []
        return _json(_shown(request, await _done(getattr(desk, work), id, by, *rules), by))

    return change


async def answer(request: Request) -> Response:
    """The right output of an item. 422 tells by field what is wrong."""
    asked: AnswerRequest = await _read(request, AnswerRequest)
    desk, by, id = _desk(request), _who(request, asked.by), request.path_params["id"]
    item: Work = await _done(desk.look, id)
    function = request.state.gateway.function(item.task)
    try:
        ended = await _done(desk.answer, id, by, function.spec, asked.output, mask=function.redactor.row, change=asked.id)
    except WrongAnswer as error:
        said = {"what": error.what, "code": "wrong_answer", "how": error.how, "where": error.where}
        return _json({"error": said, "fields": [problem._asdict() for problem in error.problems]}, 422)
    return _json(_shown(request, ended, by))


async def measured(request: Request) -> Response:
    """What waits, what was answered by day, how often people agree with the model."""
    task = request.query_params.get("task")
    _functions(request, task)
    return _json(await _done(measures, _desk(request).store, task))


async def events(request: Request) -> Response:
    """What waits by task: now, and whenever it changes."""
    functions, store = _functions(request, None), _desk(request).store

    async def tell() -> AsyncIterator[bytes]:
        began, said_at, said = monotonic(), 0.0, None
        while monotonic() - began < LONGEST:
            found = None
            with suppress(Failed):  # the line stays: the store may be back soon
                found = await _counts(store, functions)
            if found is not None and found != said:
                said, said_at = found, monotonic()
                yield event(found)
            elif monotonic() - said_at > BREATH:
                said_at = monotonic()
                yield b": here\n\n"
            await asyncio.sleep(TICK)

    return StreamingResponse(tell(), headers=HEADERS, media_type="text/event-stream")


async def _counts(store: Store, tasks: Collection[str]) -> dict[str, Any]:
    found = await _done(waiting, store) if store.exists else {}
    return {task: {"open": n.open, "claimed": n.claimed, "oldest": iso(n.oldest)} for task, n in sorted(found.items()) if task in tasks}


_ITEM = "/api/queue/items/{id}"
ROUTES: list[BaseRoute] = [
    Route("/queue", page("queue.html")),
    Route("/api/queue", listed),
    Route("/api/queue/next", next_, methods=["POST"]),
    Route("/api/queue/measures", measured),
    Route("/api/queue/events", events),
    Route(_ITEM, one),
    Route(f"{_ITEM}/answer", answer, methods=["POST"]),
    *(Route(f"{_ITEM}/{work}", _changing(work), methods=["POST"]) for work in ("claim", "release", "skip", "undo")),  # type: ignore[arg-type]
]
