"""The gateway on loopback, in a thread of this process, so that it has the simulation's clock."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

from bench.serving import serving
from pp_gateway.serve.app import Plan, build_app
from pp_gateway.serve.gateway import Gateway
from pp_resources.settings import Settings


class Served:
    """A running gateway."""

    def __init__(self, url: str, gateway: Gateway, loop: asyncio.AbstractEventLoop) -> None:
        self._gateway, self._loop = gateway, loop
        self._connection = HTTPConnection(urlsplit(url).netloc, timeout=60)

    def post(self, path: str, body: Any = None) -> Any:
        """The answer. RuntimeError for any status but 200."""
        self._connection.request("POST", path, json.dumps(body or {}), {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path} answered {answer.status}: {data.decode(errors='replace')[:300]}")
        return json.loads(data)

    def settle(self) -> None:
        """Wait for copies that are under way, and until all rows are in the store."""
        asyncio.run_coroutine_threadsafe(self._gateway.idle(), self._loop).result(60)
        assert self._gateway.recorder is not None
        self._gateway.recorder.settle()
        self._connection.close()  # the server closes it while the platform works; the next request opens another

    def reload(self) -> None:
        """Take in new files and new decisions now."""
        decisions = self._gateway.builder.decisions
        assert decisions is not None
        decisions.refresh()
        self.post("/reload")


@contextmanager
def running(settings: Settings) -> Iterator[Served]:
    """Serve until the block ends."""
    begun: list[tuple[Gateway, asyncio.AbstractEventLoop]] = []
    edge = build_app(Plan(settings), started=lambda gateway: begun.append((gateway, asyncio.get_running_loop())))
    with serving(edge) as url:
        yield Served(url, *begun[0])
