"""A gateway on loopback in a thread, over an installation with a trained package, and what it needs to be asked."""

import json
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from sqlalchemy import select
from test_package import package, parts, write_task

from bench.serving import serving
from pp_gateway.serve.app import Plan, build_app
from pp_gateway.serve.edge import Edge
from pp_gateway.serve.gateway import Gateway
from pp_gateway.serve.openapi import document
from pp_resources.settings import Settings
from pp_resources.store.opened import open_store
from pp_resources.store.schema import inferences

TEXT = "please refund me for order A7"


class Answer:
    """Status, headers and body of an answer."""

    def __init__(self, status: int, headers: Any, body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, path: str, body: Any = None, **headers: str) -> Answer:
    """POST a body (JSON, or bytes as they are), or GET without one."""
    data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    names = {"Content-Type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url + path, data, names)
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            return Answer(answer.status, answer.headers, answer.read())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers, error.read())


@dataclass
class Place:
    """An installation with the task "toy", whose encoder is packaged."""

    root: Path
    settings: Settings = field(init=False)

    def __post_init__(self) -> None:
        self.settings = Settings(self.root / "home", self.root / "tasks", threads=1)

    def write(self, serving: Any = None, gateway: Any = None, task: str = "toy", **changes: Any) -> None:
        """Write the task with a section `serving`, and gateway.yaml."""
        shutil.rmtree(self.settings.tasks / task, ignore_errors=True)
        write_task(self.settings.tasks / "new", **({"serving": serving} if serving is not None else {}), **changes)
        (self.settings.tasks / "new" / "toy").rename(self.settings.tasks / task)
        (self.settings.tasks / "new").rmdir()
        self.settings.home.mkdir(exist_ok=True)
        if gateway is not None:
            (self.settings.home / "gateway.yaml").write_text(yaml.safe_dump(gateway))

    def rows(self) -> list[dict[str, Any]]:
        """All inferences in the store, oldest first."""
        with open_store(self.settings.home).reading() as db:
            return [dict(row) for row in db.execute(select(inferences).order_by(inferences.c.at)).mappings()]


def trained() -> Path:
    """A home folder with the data set and the package of an encoder."""
    package("encoder-lora")
    return Path(parts("encoder-lora")[4].root)


def place(root: Path, serving: Any = None, gateway: Any = None, **changes: Any) -> Place:
    """An installation under `root`."""
    made, kept = Place(root), trained()
    # Not all packages: other tests of the same process make more of them.
    for part in ("packages/toy/encoder-lora", "datasets"):
        shutil.copytree(kept / part, made.settings.home / part)
    made.settings.tasks.mkdir(parents=True)
    made.write(serving, gateway, **changes)
    return made


@dataclass
class Running:
    """A gateway that answers at `url`."""

    url: str
    edge: Edge
    place: Place

    @property
    def gateway(self) -> Gateway:
        assert self.edge.gateway is not None
        return self.edge.gateway

    def infer(self, text: str = TEXT, **more: Any) -> Answer:
        return ask(self.url, "/inference", {"function_name": "toy", "input": text} | more)

    def chat(self, text: str = TEXT, model: str = "toy", **more: Any) -> Answer:
        return ask(self.url, "/v1/chat/completions", {"model": model, "messages": [{"role": "user", "content": text}]} | more)


@contextmanager
def running(where: Place, beside: Any = None) -> Iterator[Running]:
    """Serve an installation until the block ends."""
    edge = build_app(Plan(where.settings), beside=beside)
    with serving(edge) as url:
        yield Running(url, edge, where)


def events(body: bytes) -> list[Any]:
    """The data of server-sent events, parsed but for [DONE]."""
    found = [part.removeprefix("data: ") for part in body.decode().split("\n\n") if part]
    return [one if one == "[DONE]" else json.loads(one) for one in found]


def described(name: str, value: Any) -> None:
    """Raises ValidationError for what is not as the OpenAPI document says of that schema."""
    components = document()["components"]
    Draft202012Validator({"$ref": f"#/components/schemas/{name}", "components": components}).validate(value)


def closed_port() -> int:
    """A port at which nobody listens."""
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        return int(made.getsockname()[1])
