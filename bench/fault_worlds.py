"""Two gateways under faults, behind the same few acts: start, be killed, lose the store, find the disk full, have the clock set."""

import json
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import yaml

from bench.gateway_parts import BODY, PP, started
from bench.gateway_peers import PEERS, TENSORZERO_CONFIG, Gateway, tensorzero
from bench.postgres import Postgres
from pp_resources.settings import PROJECT_ROOT

FAKETIME = next((str(file) for file in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)
ROOM = 3 << 20  # bytes that a file may have on a full disk


class World:
    """What both share. `gateway` is there while it runs."""

    name = ""

    def __init__(self, root: Path, upstream: str) -> None:
        self.root, self.upstream = root, upstream
        self.gateway: Gateway | None = None
        self._stack = ExitStack()
        self._clock = root / "clock"
        self._clock.write_text("+0\n")

    def start(self) -> None:
        self.gateway = self._stack.enter_context(self._running())

    def kill(self) -> None:
        assert self.gateway is not None
        os.kill(self.gateway.pid, signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        self._stack.close()
        self.gateway = None

    def clock(self, seconds: int) -> None:
        """Set the gateway's clock by so many seconds from the true one, while it runs; needs faketime."""
        self._clock.write_text(f"{seconds:+d}\n")

    def _faked(self) -> dict[str, str]:
        if FAKETIME is None:
            return {}
        told = {"FAKETIME_TIMESTAMP_FILE": str(self._clock), "FAKETIME_NO_CACHE": "1", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
        return told | {"LD_PRELOAD": FAKETIME}

    def _running(self) -> Any:
        raise NotImplementedError


class Ours(World):
    """Our gateway over its own store, or over a PostgreSQL. With a home of a task "toy" that has a package it answers by that; else by the
    upstream. `faked`: under a clock that can be set."""

    name = "ours"

    def __init__(self, root: Path, upstream: str, *, store: Postgres | None = None, toy: Path | None = None, faked: bool = False) -> None:
        super().__init__(root, upstream)
        self.postgres, self.toy, self.faked = store, toy, faked
        self.home = (toy or root) / "home"
        self.home.mkdir(exist_ok=True)
        url = f"{upstream.removesuffix('/v1')}/hang/v1"
        models = {"stub": {"url": upstream, "model": "m"}, "hung": {"url": url, "model": "m", "timeouts": {"total": 2.0}}}
        (self.home / "gateway.yaml").write_text(yaml.safe_dump({"models": models, "in_flight": 1024}))
        self._url = store.url.replace("postgres://", "postgresql://") if store else ""

    @contextmanager
    def _running(self) -> Iterator[Gateway]:
        environment = {"PP_HOME": str(self.home), "PP_TASKS": str((self.toy or self.root) / "tasks"), "PP_STORE_URL": self._url}
        Path(environment["PP_TASKS"]).mkdir(exist_ok=True)
        command = [sys.executable, "-c", PP, "serve", "--port", "0", "--json"]
        with started(command, **environment, **(self._faked() if self.faked else {})) as (process, facts):
            body = json.dumps({"function_name": "toy", "input": "please refund me for order A7"}).encode() if self.toy else BODY
            yield Gateway(facts["url"], "/inference" if self.toy else "/v1/chat/completions", body, process.pid)

    def stored(self) -> set[str]:
        """Ids of the inferences in the store."""
        if self.postgres:
            return set(self.postgres.sql("SELECT id FROM inferences").split())
        with sqlite3.connect(self.home / "store" / "store.db", timeout=60) as db:
            return {one for (one,) in db.execute("SELECT id FROM inferences")}

    def counted(self) -> dict[str, int]:
        """How many values each metric's sums hold."""
        query = "SELECT metric, SUM(n) FROM scores WHERE width = 86400 GROUP BY metric"
        with sqlite3.connect(self.home / "store" / "store.db", timeout=60) as db:
            return {metric: int(n) for metric, n in db.execute(query)}

    @contextmanager
    def outage(self) -> Iterator[None]:
        """Nobody can write to the store."""
        if self.postgres:
            self.postgres.stop("immediate")
            yield
            self.postgres.start()
            return
        other = sqlite3.connect(self.home / "store" / "store.db", isolation_level=None, timeout=60)
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.rollback()
        other.close()

    @contextmanager
    def full(self) -> Iterator[None]:
        """No file that it or a process of its own writes may grow beyond what stands for the disk's room."""
        assert self.gateway is not None
        pids = [self.gateway.pid, *(one.pid for one in psutil.Process(self.gateway.pid).children(recursive=True))]
        soft, hard = resource.prlimit(self.gateway.pid, resource.RLIMIT_FSIZE)
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (ROOM, hard))
        yield
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))


class TensorZero(World):
    """TensorZero's gateway over a PostgreSQL, in its default way of keeping answers."""

    name = "TensorZero"

    def __init__(self, root: Path, upstream: str, store: Postgres, *, faked: bool = False) -> None:
        super().__init__(root, upstream)
        self.postgres, self.faked = store, faked

    def _running(self) -> Any:
        return tensorzero(self.root, self.upstream, self.postgres.url, _hung(self.upstream), self._faked() if self.faked else {})

    def stored(self) -> set[str]:
        """Ids of the inferences in the store."""
        return set(self.postgres.sql("SELECT id FROM tensorzero.chat_inferences").split())

    @contextmanager
    def outage(self) -> Iterator[None]:
        """The server of its store is gone."""
        self.postgres.stop("immediate")
        yield
        self.postgres.start()

    def feedback_four_times(self) -> tuple[int, int]:
        """One answer and the same feedback on it four times: how many targets, how many values are counted."""
        config = self.root / "embedded.toml"
        text = TENSORZERO_CONFIG.format(kept="true", upstream=self.upstream, more="")
        config.write_text(text + '[metrics.right]\ntype = "boolean"\nlevel = "inference"\noptimize = "max"\n')
        done = subprocess.run([PEERS / "python", "-c", _FOUR, config, self.postgres.url], capture_output=True, text=True, timeout=120)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        return 1, int(self.postgres.sql("SELECT count(*) FROM tensorzero.boolean_metric_feedback"))


_FOUR = """
import sys, time
from tensorzero import TensorZeroGateway
with TensorZeroGateway.build_embedded(config_file=sys.argv[1], postgres_url=sys.argv[2]) as gateway:
    said = gateway.inference(function_name="hello", input={"messages": [{"role": "user", "content": "hi"}]})
    time.sleep(1)
    for _ in range(4):
        gateway.feedback(metric_name="right", value=True, inference_id=said.inference_id)
    time.sleep(1)
"""


def _hung(upstream: str) -> str:
    """A second model, whose provider never answers."""
    base = upstream.removesuffix("/v1") + "/hang/v1/"
    provider = f'type = "openai"\nmodel_name = "m"\napi_base = "{base}"\napi_key_location = "none"\n'
    return f'[models.hung]\nrouting = ["p"]\n[models.hung.providers.p]\n{provider}[models.hung.timeouts]\nnon_streaming.total_ms = 2000\n'


def toy_home(root: Path) -> Path:
    """An installation with a small trained encoder for the task "toy"; the one that the tests of the gateway ask."""
    sys.path.insert(0, str(PROJECT_ROOT / "tests" / "unit"))
    from gateway_place import place

    folder = root / "toy"
    folder.mkdir()
    place(folder)
    return folder


def settled(world: World, wanted: set[str], seconds: float) -> set[str]:
    """What of the acknowledged rows is in the store, once nothing comes any more."""
    ends, found = time.monotonic() + seconds, world.stored()  # type: ignore[attr-defined]
    while not wanted <= found and time.monotonic() < ends:
        time.sleep(0.5)
        with suppress(subprocess.CalledProcessError, RuntimeError):
            found = world.stored()  # type: ignore[attr-defined]
    return found & wanted


def id_of(said: bytes) -> str:
    """The id of an answer, in either's form."""
    found = re.search(rb'"(?:inference_id|id)":\s?"([0-9a-f-]{36})"', said)
    assert found is not None, said
    return found[1].decode()
