"""The dashboard's page and what it asks for: all figures at once, and what has changed since as server-sent events."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from pp_gateway import pages
from pp_gateway.dashboard.overview import RANGES, Question
from pp_gateway.dashboard.reading import Reader
from pp_gateway.serve.exchange import event
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.said import Failed, Refused
from pp_resources.errors import nearest
from pp_resources.settings import Settings
from pp_resources.store.opened import open_store

FREE = ("/",)
EVERY = 2.0  # seconds between two looks at what goes on now
WHOLE = 3  # of these looks until the next one at everything
LONGEST = 120.0  # seconds of a stream; whoever follows comes again, and shows the key again
STREAMS = 100  # at once in one worker
HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
MOVING = ("now", "log", "stale")


class Dashboard:
    """The routes of one installation."""

    def __init__(self, settings: Settings) -> None:
        self._settings, self._streams = settings, 0
        self._reader: Reader | None = None

    def routes(self) -> list[BaseRoute]:
        """The page (it holds no data), and what it asks for behind keys."""
        return [Route("/", pages.page("dashboard.html")), Route("/api/overview", self.overview), Route("/api/live", self.live)]

    async def overview(self, request: Request) -> Response:
        """All figures of a task: `?task=&range=&metric=`."""
        found = await self._read_by(request).whole(_question(request))
        return Response(orjson.dumps(found), media_type="application/json", headers=HEADERS)

    async def live(self, request: Request) -> Response:
        """`{"now", "log", "stale"}` every two seconds, `{"overview"}` when anything else has changed; the same parameters."""
        if self._streams >= STREAMS:
            raise Failed(503, "overloaded", f"{self._streams} pages follow this worker", how="close some", retry_after=EVERY)
        events = self._events(self._read_by(request), _question(request), request.state.gateway.ending)
        return StreamingResponse(events, media_type="text/event-stream", headers=HEADERS)

    async def _events(self, reader: Reader, question: Question, ending: asyncio.Event) -> AsyncIterator[bytes]:
        self._streams += 1
        end, look, whole, last = time.monotonic() + LONGEST, 0, dict[str, Any](), b""
        try:
            while not ending.is_set() and time.monotonic() < end:
                with suppress(Failed):  # nothing was ever read; a page learns that when it asks
                    if look % WHOLE == 0 or not whole:
                        whole = await reader.whole(question)
                        steady = orjson.dumps({key: value for key, value in whole.items() if key not in MOVING})
                        moved = {key: whole[key] for key in MOVING if key in whole}
                        yield event({"overview": whole} if steady != last else moved)
                        last = steady
                    elif not whole["empty"]:
                        yield event(await reader.moment(whole["task"], whole["metric"]))
                look += 1
                with suppress(TimeoutError):
                    await asyncio.wait_for(ending.wait(), EVERY)
        finally:
            self._streams -= 1

    def _read_by(self, request: Request) -> Reader:
        if self._reader is None:
            gateway: Gateway = request.state.gateway
            store = gateway.recorder.store if gateway.recorder else open_store(self._settings.home, self._settings.store_url)
            self._reader = Reader(self._settings, gateway, store)
        return self._reader


def _question(request: Request) -> Question:
    """Raises Refused for a range or a parameter that is none."""
    given = dict(request.query_params)
    if unknown := sorted(given.keys() - set(Question._fields)):
        how = nearest(unknown[0], Question._fields)
        raise Refused(400, "unknown_parameter", f"{unknown[0]!r} is no parameter", how=how, param=unknown[0])
    made = Question(**{"task": "", **given})
    if made.range not in RANGES:
        raise Refused(400, "unknown_range", f"{made.range!r} is no range", how=nearest(made.range, RANGES), param="range")
    return made
