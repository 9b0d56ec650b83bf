"""The processes of `pp serve`: one, or several on one socket under a parent that starts those again which die."""

import asyncio
import gc
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import wait
from typing import Any

from pp_gateway.listening import url_of
from pp_gateway.serve.app import Plan, build_app
from pp_gateway.serve.connection import Connection
from pp_gateway.serve.gateway import Gateway
from pp_resources.errors import UserError

GRACE = 30  # seconds that requests have to end
PAUSE = 1.0  # seconds before a worker that died is started again
BAD_INPUT = 2
SEARCHES = 20_000, 20, 50  # objects more than were freed, until the youngest are searched; and so on for the older ones
SWITCH = 0.001  # seconds that a thread waits for the event loop's turn to end: the journal's waits once for every batch of answers
# Of uvicorn: nothing that a gateway does not need is done for each request.
FAST: dict[str, Any] = {"loop": "uvloop", "http": Connection, "ws": "none", "lifespan": "on", "log_level": "critical"}
FAST |= {"access_log": False, "proxy_headers": False, "server_header": False}
Ready = Callable[[str], None]


def serve(plan: Plan, made: socket.socket, ready: Ready) -> None:
    """Serve on a socket until Ctrl-C or SIGTERM; SIGHUP reads everything again. `ready` hears the address when requests are taken. Raises
    UserError for a configuration that cannot be served."""
    if plan.workers == 1:
        run_worker(plan, made, lambda: ready(url_of(made)))
    else:
        _Parent(plan, made).run(lambda: ready(url_of(made)))


def run_worker(plan: Plan, made: socket.socket, ready: Callable[[], None]) -> None:
    """Serve in this process."""
    import uvicorn

    sys.setswitchinterval(SWITCH)
    app = build_app(plan, started=_reload_when_told)
    config = uvicorn.Config(app, timeout_graceful_shutdown=GRACE, **FAST)
    server = uvicorn.Server(config)
    begin, end = server.startup, server.shutdown

    async def startup(sockets: Any = None) -> None:
        try:
            await begin(sockets)
        except SystemExit:
            raise app.error or RuntimeError("the server did not start") from None
        if not server.should_exit:
            _spare_what_lasts()
            ready()

    async def shutdown(sockets: Any = None) -> None:
        if app.gateway is not None:
            app.gateway.ending.set()
        await end(sockets)

    server.startup, server.shutdown = startup, shutdown  # type: ignore[method-assign]
    # Ctrl-C is how a server ends.
    with suppress(KeyboardInterrupt):
        server.run(sockets=[made])


def _spare_what_lasts() -> None:
    """What is there when serving begins stays: a full search of it for garbage stopped everything for 60 to 100 ms, once a second under
    load. Requests leave next to no cycles, so the searches for those may be rare."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*SEARCHES)


def _reload_when_told(gateway: Gateway) -> None:
    def again() -> None:
        gateway.background(gateway.reload())

    with suppress(ValueError, RuntimeError, NotImplementedError):  # signals reach the main thread alone
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, again)


def _work(plan: Plan, made: socket.socket, said: Any) -> None:
    """A worker in a process of its own; says "ready", or why not."""
    from pp_gateway.cli.environment import quiet_environment

    quiet_environment()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent ends its workers
    try:
        run_worker(plan, made, lambda: said.send("ready"))
    except UserError as error:
        said.send(error.args[0])
        sys.exit(BAD_INPUT)


class _Parent:
    """Starts workers, and starts again those that die."""

    def __init__(self, plan: Plan, made: socket.socket) -> None:
        self._plan, self._made = plan, made
        self._context = multiprocessing.get_context("spawn")  # torch's threads do not outlive a fork
        self._workers: list[Any] = []
        self._ending = False

    def run(self, ready: Callable[[], None]) -> None:
        folder = tempfile.mkdtemp(prefix="pp-serve-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = folder
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, lambda *_: self._end())
        signal.signal(signal.SIGHUP, lambda *_: self._tell(signal.SIGHUP))
        try:
            self._workers = [self._start() for _ in range(self._plan.workers)]
            if not self._ending:
                ready()
            while not self._ending:
                self._look_after()
            deadline = time.monotonic() + GRACE
            for worker in self._workers:
                worker.join(max(0.1, deadline - time.monotonic()))
        finally:
            self._tell(signal.SIGKILL)
            shutil.rmtree(folder, ignore_errors=True)

    def _start(self) -> Any:
        """A worker that takes requests. Raises UserError where it cannot be made ready."""
        here, there = self._context.Pipe(duplex=False)
        worker = self._context.Process(target=_work, args=(self._plan, self._made, there), daemon=True)
        worker.start()
        there.close()
        try:
            said = here.recv()
        except EOFError:
            said = "a worker ended before it was ready"
        if said != "ready" and not self._ending:
            raise UserError(said)
        return worker

    def _look_after(self) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        wait([worker.sentinel for worker in self._workers], timeout=PAUSE)
        for place, worker in enumerate(self._workers):
            if self._ending or worker.is_alive():
                continue
            mark_process_dead(worker.pid)  # type: ignore[no-untyped-call]
            print(f"pp: worker {worker.pid} ended with {worker.exitcode}; another one is started", file=sys.stderr, flush=True)
            time.sleep(PAUSE)
            with suppress(UserError):  # those that are there go on; this one is tried again
                self._workers[place] = self._start()

    def _end(self) -> None:
        self._ending = True
        self._tell(signal.SIGTERM)

    def _tell(self, name: signal.Signals) -> None:
        for worker in self._workers:
            if worker.is_alive():
                with suppress(ProcessLookupError):
                    os.kill(worker.pid, name)
