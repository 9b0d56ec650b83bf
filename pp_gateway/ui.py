"""`pp ui`: Dagster's webserver and daemon and the MLflow pages on loopback, started together, stopped together."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

import psutil

from pp_resources.artifacts import write_atomic
from pp_resources.errors import UserError
from pp_resources.instance import dagster_environment, open_instance
from pp_resources.settings import PROJECT_ROOT, Settings
from pp_resources.tracking import MlflowTracker

HOST = "127.0.0.1"
DAGSTER_PORT, MLFLOW_PORT = 3000, 5000
# MLflow's pages start on traces of chat applications, where no training run is to be seen.
TRAINING_PAGES = "/#/experiments?workflowType=machine_learning"
START_SECONDS = 180.0
STOP_SECONDS = 10.0


@dataclass
class Server:
    """One process and how it says that it is ready: an address to ask, or nothing for the daemon, which just has to stay alive."""

    name: str
    command: list[str]
    ready_url: str | None
    log: Path
    process: subprocess.Popen[bytes] | None = None


@dataclass
class Ui:
    """The running servers. Use as a context manager, or call `stop`."""

    dagster: str
    mlflow: str
    servers: list[Server] = field(default_factory=list)

    def __enter__(self) -> "Ui":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End every process of every server: politely first, since Dagster must close its runs, then for good."""
        trees: list[psutil.Process] = []
        for server in self.servers:
            if server.process is not None:
                trees += _tree(server.process.pid)
        for server in self.servers:
            if server.process is not None and server.process.poll() is None:
                # Not SIGINT: a shell that starts us in the background has it ignored, and children inherit that.
                server.process.terminate()
        _, alive = psutil.wait_procs(trees, timeout=STOP_SECONDS)
        for signalled, timeout in ((psutil.Process.terminate, 5.0), (psutil.Process.kill, 5.0)):
            for process in alive:
                _quietly(signalled, process)
            _, alive = psutil.wait_procs(alive, timeout=timeout)
        self.servers = []

    def failed(self) -> Server | None:
        """A server that has ended by itself."""
        return next((s for s in self.servers if s.process is not None and s.process.poll() is not None), None)


def start_ui(settings: Settings, *, open: bool = False, dagster_port: int | None = None, mlflow_port: int | None = None) -> Ui:
    """Start all servers and wait until they answer. `open` shows the Dagster page in a browser.

    Ports default to 3000 and 5000, or a free one where those are taken. Raises UserError with the end of the log when a server does not
    come up; then nothing is left running.
    """
    port, pages = _port(dagster_port, DAGSTER_PORT), _port(mlflow_port, MLFLOW_PORT)
    logs = settings.home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    ui = Ui(f"http://{HOST}:{port}", f"http://{HOST}:{pages}")
    # Both stores are made before any server, or two of them would make one at once.
    open_instance(settings).dispose()
    if settings.mlflow_uri.startswith("sqlite"):
        _ = MlflowTracker(settings.mlflow_uri, settings.mlflow_artifacts, settings.home).client
    workspace = ["-w", str(PROJECT_ROOT / "workspace.yaml")]
    mlflow = ["server", "--host", HOST, "--port", str(pages), "--workers", "1", "--backend-store-uri", settings.mlflow_uri]
    mlflow += ["--default-artifact-root", settings.mlflow_artifacts]
    web = ["-h", HOST, "-p", str(port), *workspace]
    ui.servers = [
        Server("dagster-webserver", [_program("dagster-webserver"), *web], f"{ui.dagster}/server_info", logs / "dagster-webserver.log"),
        Server("dagster-daemon", [_program("dagster-daemon"), "run", *workspace], None, logs / "dagster-daemon.log"),
        Server("mlflow", [_program("mlflow"), *mlflow], f"{ui.mlflow}/health", logs / "mlflow.log"),
    ]
    environment = {**os.environ, **dagster_environment(settings)}
    try:
        for server in ui.servers:
            with server.log.open("wb") as log:
                # A session of its own: Ctrl-C in the terminal reaches us, and we stop the servers in order.
                server.process = subprocess.Popen(
                    server.command, cwd=PROJECT_ROOT, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        _wait(ui)
    except BaseException:
        ui.stop()
        raise
    write_atomic(settings.home / "ui.json", json.dumps({"dagster": ui.dagster, "mlflow": ui.mlflow}) + "\n")
    if open:
        import webbrowser

        webbrowser.open(ui.dagster)
    return ui


def run_ui(settings: Settings, *, say: Callable[[str], Any] = print, **options: Any) -> int:
    """Start, print the addresses, stay until Ctrl-C or until a server ends; then stop everything. Returns the exit code."""
    stopping = False

    def stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001
        nonlocal stopping
        stopping = True

    say("Starting Dagster and MLflow …")
    with start_ui(settings, **options) as ui:
        before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            say(f"Dagster  {ui.dagster}")
            say(f"MLflow   {ui.mlflow}{TRAINING_PAGES}")
            say(f"Logs     {settings.home / 'logs'}")
            say("Ctrl-C stops everything.")
            while not stopping and ui.failed() is None:
                time.sleep(0.5)
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
        ended = None if stopping else ui.failed()
    if ended is not None:
        say(f"{ended.name} has ended:\n{_tail(ended.log)}")
        return 1
    say("Stopped.")
    return 0


def _wait(ui: Ui) -> None:
    deadline = time.monotonic() + START_SECONDS
    waiting = [server for server in ui.servers if server.ready_url]
    while waiting:
        ended = ui.failed()
        late = time.monotonic() > deadline
        if ended or late:
            server = ended or waiting[0]
            what = "ended at once" if ended else f"does not answer after {START_SECONDS:g} s"
            raise UserError(f"{server.name} {what}: {_tail(server.log)}", where=str(server.log), how="see the log")
        waiting = [server for server in waiting if not _answers(str(server.ready_url))]
        time.sleep(0.3)


def _answers(url: str) -> bool:
    try:
        # Never through a proxy: the address is this machine.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _port(wanted: int | None, usual: int) -> int:
    for port in (wanted if wanted is not None else usual, 0):
        with socket.socket() as probe:
            try:
                probe.bind((HOST, port))
            except OSError:
                if wanted is not None:
                    raise UserError(f"port {wanted} is taken", where="ui", how="give another one") from None
                continue
            return int(probe.getsockname()[1])
    raise UserError("no free port", where="ui")


def _program(name: str) -> str:
    """The program that belongs to this Python, whatever PATH says."""
    return str(Path(sys.executable).with_name(name))


def _tree(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _quietly(action: Callable[[psutil.Process], None], process: psutil.Process) -> None:
    try:
        action(process)
    except psutil.NoSuchProcess:
        return


def _tail(log: Path) -> str:
    try:
        return "\n".join(log.read_text("utf-8", "replace").splitlines()[-15:])
    except OSError:
        return ""
