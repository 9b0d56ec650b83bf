"""The routes of jobs: start, list, get, cancel, follow; and a path for each kind of work, whose answer comes at once where it is quick.

A caller with a key sees its own jobs, and of those of others not even that they are there. Where no key is configured, whoever reaches
this machine's own address sees all.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from pp_assets.flows.catalogue import KINDS, Kind
from pp_assets.flows.requests import RunInference
from pp_assets.flows.work import Kept, Work
from pp_assets.task.spec import list_tasks
from pp_gateway.jobs import ask, stream
from pp_gateway.jobs.records import DATA, MESSAGES, OPEN, add_job, ask_to_cancel, describe, new_job, owner_of
from pp_gateway.serve import native
from pp_gateway.serve.exchange import Http
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.keys import ANYBODY
from pp_gateway.serve.requests import read
from pp_gateway.serve.said import Refused
from pp_resources.errors import UserError, nearest
from pp_resources.settings import Settings
from pp_resources.store.engine import StoreUnavailable
from pp_resources.store.opened import Store
from pp_resources.store.read_work import job as read_job
from pp_resources.store.read_work import list_jobs

Endpoint = Callable[[Request], Awaitable[Response]]


def routes(settings: Settings) -> list[BaseRoute]:
    """All of them, for one installation."""
    made = _Routes(settings)
    found: list[BaseRoute] = [
        Route("/jobs", made.start, methods=["POST"]),
        Route("/jobs", made.list_, methods=["GET"]),
        Route("/jobs/{id}", made.get, methods=["GET"]),
        Route("/jobs/{id}/cancel", made.cancel, methods=["POST"]),
        Route("/jobs/{id}/messages", made.messages, methods=["GET"]),
        Route("/jobs/{id}/data", made.data, methods=["GET"]),
    ]
    return found + [Route(kind.path, made.flow(name), methods=["POST"]) for name, kind in KINDS.items()]


class _Routes:
    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def start(self, request: Request) -> Response:
        """A job of any kind."""
        asked = read(ask.JobRequest, await ask.body_of(request))
        kind = ask.kind_of(asked.kind)
        wanted = read(kind.model, orjson.dumps(asked.request))
        await asyncio.to_thread(self._check, wanted)
        return await self._queue(request, asked.kind, wanted, ask.key_of(request, asked.idempotency_key))

    def flow(self, name: str) -> Endpoint:
        """The path of one kind."""
        kind = KINDS[name]

        async def endpoint(request: Request) -> Response:
            body, key = ask.split(await ask.body_of(request))
            wanted = read(kind.model, body)
            if isinstance(wanted, RunInference) and wanted.input is not None:
                return await _infer(request, wanted)
            await asyncio.to_thread(self._check, wanted)
            found = await asyncio.to_thread(self._at_once, kind, wanted)
            if found is not None:
                return _json({**found, "job": None})
            return await self._queue(request, name, wanted, ask.key_of(request, key))

        return endpoint

    async def list_(self, request: Request) -> Response:
        """A page of jobs, the newest first."""
        ask.check_query(request, ("kind", "state", "limit", "before"))
        limit = ask.number(request, "limit", ask.PAGE, 1000)
        caller = request.state.caller
        more: dict[str, Any] = {"states": ask.states_of(request), "kind": ask.choice(request, "kind", tuple(KINDS))}
        before = request.query_params.get("before", "").replace("\0", "") or None  # what no store can hold is no job's id
        more |= {"before": before, "owner": None if caller == ANYBODY else f"{caller}:"}
        store = _store(request)

        def found() -> list[dict[str, Any]]:
            return describe(store, list_jobs(store, limit, payload=False, **more)) if store.exists else []

        page = await asyncio.to_thread(ask.asked_of_store, found)
        return _json({"jobs": page, "next": page[-1]["id"] if limit and len(page) == limit else None})

    async def get(self, request: Request) -> Response:
        """One job."""
        return _json(await self._one(request))

    async def cancel(self, request: Request) -> Response:
        """Ask for a job's end. 200 with its state, also where it had ended before."""
        found = await self._one(request)
        store, home, who = _store(request), self._settings.home, request.state.caller or "gateway"
        await asyncio.to_thread(ask.asked_of_store, ask_to_cancel, store, home, found["id"], who)
        _wake(request)
        return _json(await self._one(request))

    async def messages(self, request: Request) -> Response:
        """What a job tells."""
        return await self._follow(request, MESSAGES)

    async def data(self, request: Request) -> Response:
        """The rows that a job makes."""
        return await self._follow(request, (DATA,))

    async def _follow(self, request: Request, kinds: tuple[str, ...]) -> Response:
        ask.check_query(request, ("after", "follow"))
        after, follow = ask.after_of(request), ask.choice(request, "follow", ("true", "false")) != "false"
        found = await self._one(request)
        return await stream.follow(_gateway(request), _store(request), found["id"], kinds, after, wait=follow)

    async def _one(self, request: Request) -> dict[str, Any]:
        id, caller, store = request.path_params["id"], request.state.caller, _store(request)

        def found() -> dict[str, Any] | None:
            row = read_job(store, id) if store.exists and "\0" not in id else None
            mine = row is not None and (caller == ANYBODY or owner_of(row) == caller)
            return describe(store, [row])[0] if row is not None and mine else None

        told = await asyncio.to_thread(ask.asked_of_store, found)
        if told is None:
            raise Refused(404, "unknown_job", "there is no such job", how="GET /jobs lists them", param="id")
        return told

    async def _queue(self, request: Request, name: str, wanted: BaseModel, key: str | None) -> Response:
        gateway, store, caller = _gateway(request), _store(request), request.state.caller
        row, first = new_job(name, wanted.model_dump(mode="json", exclude_unset=True), caller, key)
        waiting = gateway.now.config.jobs.waiting

        def write() -> tuple[str, bool] | None:
            known = key is not None and store.exists and _known(store, row.key)
            if not known and store.exists and len(list_jobs(store, waiting, states=OPEN, owner=f"{caller}:", payload=False)) >= waiting:
                return None
            ack = add_job(store, row, first)
            return ack.id, ack.created

        try:
            made = await asyncio.to_thread(write)
        except StoreUnavailable:
            raise ask.away() from None
        except UserError:
            raise Refused(409, "key_taken", "the idempotency key is that of another job", how="give a new one", param=ask.KEY) from None
        if made is None:
            raise Refused(
                429, "too_many_jobs", f"{waiting} jobs of yours have not ended", how="wait for one, or cancel it", retry_after=5.0
            )
        _wake(request)
        found = await asyncio.to_thread(ask.asked_of_store, lambda: describe(store, [_there(store, made[0])])[0])
        return _json({"job": found, "created": made[1]}, 202 if made[1] else 200)

    def _check(self, wanted: Any) -> None:
        """Raises Refused for a task that is not there, and for whatever can be told of a request before it is done."""
        task, known = getattr(wanted, "task", None), list_tasks(self._settings.tasks)
        if task is not None and task not in known:
            raise Refused(404, "unknown_task", f"{task!r} is no task", how=nearest(task, known), param="task")
        try:
            for check in _CHECKS:
                check(Work(self._settings, Kept()), wanted)
        except UserError as error:
            raise ask.refused(error, self._settings) from None

    def _at_once(self, kind: Kind, wanted: Any) -> dict[str, Any] | None:
        """The answer, where it is quick."""
        kept = Kept()
        work = Work(self._settings, kept)
        try:
            if not kind.quick(work, wanted):
                return None
            return {"result": kind.run(work, wanted), "rows": kept.rows}
        except UserError as error:
            raise ask.refused(error, self._settings) from None


async def _infer(request: Request, wanted: RunInference) -> Response:
    """One answer: what POST /inference gives."""
    asked = {"function_name": wanted.task, "input": wanted.input, "variant_name": wanted.variant}
    http = Http("POST", "/inference", {}, orjson.dumps(asked), request.state.caller)
    answer = await native.inference(_gateway(request), http)
    return _json({"result": orjson.loads(answer.body), "rows": [], "job": None})


def _check_task(work: Work, wanted: Any) -> None:
    if getattr(wanted, "task", None) is not None:
        work.pipeline.task(wanted.task)


def _check_contract(work: Work, wanted: Any) -> None:
    from pp_assets.flows.contracts import contract_of

    if getattr(wanted, "contract", None) is not None:
        contract_of(work, wanted)


def _check_variant(work: Work, wanted: Any) -> None:
    from pp_assets.flows.requests import Tune
    from pp_assets.flows.use import package_of
    from pp_assets.training.recipes import get_recipe

    if isinstance(wanted, Tune):
        get_recipe(wanted.variant)
    elif isinstance(wanted, RunInference):
        package_of(work, wanted)


def _check_prompt(work: Work, wanted: Any) -> None:
    from pp_assets.flows.requests import TunePrompt

    if isinstance(wanted, TunePrompt):
        from pp_assets.flows.use import check_prompt

        check_prompt(work, wanted)


_CHECKS = (_check_task, _check_contract, _check_variant, _check_prompt)


def _known(store: Store, key: str | None) -> bool:
    from sqlalchemy import select

    from pp_resources.store.schema import jobs

    with store.reading() as db:
        return db.execute(select(jobs.c.id).where(jobs.c.key == key)).first() is not None


def _there(store: Store, id: str) -> dict[str, Any]:
    found = read_job(store, id)
    assert found is not None
    return found


def _gateway(request: Request) -> Gateway:
    found: Gateway = request.state.gateway
    return found


def _store(request: Request) -> Store:
    recorder = _gateway(request).recorder
    assert recorder is not None
    return recorder.store


def _wake(request: Request) -> None:
    launcher = _gateway(request).launcher
    if launcher is not None:
        launcher.wake()


def _json(value: Any, status: int = 200) -> Response:
    return Response(orjson.dumps(value), status, media_type="application/json")
