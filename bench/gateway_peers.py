"""Gateways that ours is measured beside: each a process on loopback with one model, that of the upstream stub."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import yaml

from bench.gateway_parts import BODY, free_port, ours
from pp_resources.settings import PROJECT_ROOT

PEERS = PROJECT_ROOT / ".venv" / "gateways" / "bin"  # make install-gateways
CHAT = "/chat/completions"
_TENSORZERO = """
import json, pathlib, sys, time
from tensorzero.tensorzero import _start_http_gateway
stores = {"clickhouse_url": None, "postgres_url": sys.argv[2] or None, "valkey_url": None}
made = _start_http_gateway(config_file=sys.argv[1], async_setup=False, **stores)
pathlib.Path(sys.argv[3]).write_text(made.base_url)
while True: time.sleep(60)
"""
TENSORZERO_CONFIG = """
[gateway]
disable_pseudonymous_usage_analytics = true
observability.enabled = {kept}
[models.stub]
routing = ["p"]
[models.stub.providers.p]
type = "openai"
model_name = "m"
api_base = "{upstream}/"
api_key_location = "none"
[functions.hello]
type = "chat"
[functions.hello.variants.a]
type = "chat_completion"
model = "stub"
{more}"""


class Gateway(NamedTuple):
    """Where requests go, what they say, the process that answers, and the others whose time counts (its database's)."""

    url: str
    path: str
    body: bytes
    pid: int
    beside: tuple[int, ...] = ()


@contextmanager
def promptprecision(root: Path, upstream: str, logging: str, workers: int = 1) -> Iterator[Gateway]:
    """`logging`: durable, async or off."""
    with ours(root / "home", upstream, logging, workers=workers) as (process, facts):
        yield Gateway(facts["url"], "/v1" + CHAT, BODY, process.pid)


@contextmanager
def litellm(root: Path, upstream: str) -> Iterator[Gateway]:
    """LiteLLM's proxy with one worker. It keeps nothing: that would want a database and its own client for it."""
    config, port = root / "litellm.yaml", free_port()
    params = {"model": "openai/m", "api_base": upstream, "api_key": "none"}
    config.write_text(yaml.safe_dump({"model_list": [{"model_name": "stub", "litellm_params": params}]}))
    words = ["--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1", "--telemetry", "False"]
    environment = os.environ | {"LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    with (root / "litellm.log").open("w") as log:
        process = subprocess.Popen([PEERS / "litellm", *words], env=environment, stdout=log, stderr=log, cwd=root)
    try:
        url = f"http://127.0.0.1:{port}"
        _until_ready(process, url + "/health/liveliness", root / "litellm.log")
        yield Gateway(url, "/v1" + CHAT, BODY, process.pid)
    finally:
        process.kill()
        process.wait()


@contextmanager
def tensorzero(
    root: Path, upstream: str, store: str = "", more: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[Gateway]:
    """TensorZero's gateway, as its Python package hosts it; with the address of a PostgreSQL it keeps every answer there, by its default
    after it is given."""
    config, found, log = root / "tensorzero.toml", root / "url", root / "tensorzero.log"
    config.write_text(TENSORZERO_CONFIG.format(kept=str(bool(store)).lower(), upstream=upstream, more=more))
    found.unlink(missing_ok=True)  # of one that was killed
    words = [PEERS / "python", "-c", _TENSORZERO, str(config), store, str(found)]
    environment = os.environ | {"RUST_LOG": "error"} | dict(environment or {})
    with log.open("w") as said:  # not a pipe: once that is full, whoever writes to it stands still
        process = subprocess.Popen(words, stdout=said, stderr=said, cwd=root, env=environment)
    try:
        while not found.exists() or not found.read_text():
            if process.poll() is not None:
                raise SystemExit(log.read_text()[-2000:])
            time.sleep(0.1)
        base, _, rest = found.read_text().partition("/openai")
        body = json.loads(BODY) | {"model": "tensorzero::function_name::hello"}
        yield Gateway(base, "/openai" + rest + CHAT, json.dumps(body).encode(), process.pid)
    finally:
        process.kill()
        process.wait()


def missing() -> str | None:
    """What is not there for the peers to be run."""
    return None if (PEERS / "litellm").exists() else f"{PEERS} is not there: make install-gateways"


def _until_ready(process: "subprocess.Popen[bytes]", url: str, log: Path, seconds: float = 120) -> None:
    opener, ends = urllib.request.build_opener(urllib.request.ProxyHandler({})), time.monotonic() + seconds
    while time.monotonic() < ends and process.poll() is None:
        try:
            with opener.open(url, timeout=5):
                return
        except OSError:
            time.sleep(0.2)
    raise SystemExit(log.read_text()[-2000:] or f"{sys.argv[0]}: {url} does not answer")
