"""The task of the support chat behind a gateway, answered by simulated remote models: nothing is trained, so it starts at once."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from gateway_place import Place, Running, running
from upstream_stub import Stub, stub

from pp_resources.settings import PROJECT_ROOT

TASK = "support-triage"
LATE = "Where is my kettle? Order #48213 was due on Monday."
RIGHT = {"category": "delivery", "priority": "normal", "wants_human": False, "order_id": "#48213", "products": ["kettle"]}


@contextmanager
def chat_place(root: Path) -> Iterator[tuple[Running, Stub]]:
    """A gateway whose task has two variants, `first` and `second`, and whose model `writer` answers freely; one stub is all three."""
    where = Place(root)
    folder = where.settings.tasks / TASK
    shutil.copytree(PROJECT_ROOT / "tasks" / TASK, folder)
    where.settings.home.mkdir()
    with stub(json.dumps(RIGHT)) as up:
        remote = {"kind": "remote", "url": up.url, "model": "m", "price_in": 1.0, "price_out": 2.0, "retries": {"most": 0}}
        remote |= {"breaker": {"failures": 1000}}
        routing = {"metric": "intent_accuracy", "champion": "first", "weights": {"first": 0.5, "second": 0.5}}
        spec = yaml.safe_load((folder / "task.yaml").read_text("utf-8"))
        spec["serving"] = {"variants": {"first": remote, "second": remote}, "routing": routing}
        (folder / "task.yaml").write_text(yaml.safe_dump(spec), "utf-8")
        (where.settings.home / "gateway.yaml").write_text(yaml.safe_dump({"models": {"writer": {**remote, "model": "writer"}}}))
        with running(where) as made:
            yield made, up
