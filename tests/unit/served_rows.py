"""A task whose variants have answered and were judged: rows as the gateway writes them, in a store of a test's own."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from test_package import write_task

from pp_assets.routing.policy import Routing
from pp_assets.routing.stage import Moved, move
from pp_assets.routing.sticky import choose
from pp_assets.serving.versions import installed
from pp_assets.task.spec import Task
from pp_resources.artifacts import ArtifactStore
from pp_resources.store.ids import MICRO
from pp_resources.store.opened import Store, open_store
from pp_resources.store.rows import Feedback, Inference, Row

BEGIN = 1_790_000_000.0  # seconds
LAG = 3.0  # of the time-out and what is added to it


def remote(model: str) -> dict[str, Any]:
    return {"kind": "remote", "url": "http://127.0.0.1:9/v1", "model": model}


class Served:
    """`routing` is the policy of a task with the variants that it names; one inference every second. `store`: by default that of the
    installation under `root`."""

    def __init__(self, root: Path, store: Store | None = None, **routing: Any) -> None:
        self.root, self.store = root, store or open_store(root / "pp")
        self.artifacts = ArtifactStore(root / "pp")
        self.clock, self.number = BEGIN, 0
        self.declare(routing)
        self.rng = np.random.default_rng(0)
        self.said: dict[str, float] = {}

    def declare(self, routing: Mapping[str, Any], standards: Mapping[str, Any] | None = None, **models: str) -> None:
        """Write the task anew; `models` by variant, the variant's own name by default."""
        names = [*routing["weights"], *routing.get("shadow", ())]
        serving = {"variants": {name: remote(models.get(name, name)) for name in names}, "routing": dict(routing), "timeout": LAG - 1}
        shutil.rmtree(self.root / "tasks", ignore_errors=True)
        self.task: Task = write_task(self.root / "tasks", serving=serving | ({"standards": dict(standards)} if standards else {}))
        found = self.task.spec.serving
        assert found is not None and found.routing is not None
        self.policy: Routing = found.routing
        self.versions = installed(self.task, self.artifacts)
        self.weights: dict[str, float] = dict(self.policy.weights)

    def answer(self, episode: str | None = None, *, write: bool = True, **more: Any) -> Inference:
        """One inference of the variant that the weights choose."""
        self.number += 1
        self.clock += 1.0
        name = f"i{self.number}"
        variant = more.pop("variant", None) or choose(self.weights, "toy", episode or f"e-{name}")
        decision = more.pop("decision", {"basis": "evidence", "weights": self.weights}) | {"version": self.versions.get(variant)}
        values = {"id": name, "at": round(self.clock * MICRO), "episode": episode or f"e-{name}", "output": "{}", "valid": True}
        row = Inference(task="toy", variant=variant, input="text", decision=decision, **(values | {"latency_ms": 10.0} | more))
        if write:
            self.store.write(row)
        return row

    def say(self, of: Inference, value: float, after: float = 1.0, metric: str = "right", *, write: bool = True, **more: Any) -> Feedback:
        """A value on an answer, so many seconds later."""
        kind = "boolean" if value in (0.0, 1.0) else "float"
        target = {} if "episode" in more else {"inference": of.id}
        row = Feedback(kind=kind, metric=metric, value=value, at=of.at + round(after * MICRO), **target, **more)
        if write:
            self.store.write(row)
        return row

    def serve(self, n: int, rates: Mapping[str, float], invalid: Mapping[str, float] | None = None, after: float = 1.0) -> list[Inference]:
        """So many inferences, right at `rates` and invalid at `invalid`, said so after a while."""
        made, rows = [], list[Row]()
        for _ in range(n):
            variant = choose(self.weights, "toy", f"e-i{self.number + 1}")
            made.append(self.answer(variant=variant, valid=bool(self.rng.random() >= (invalid or {}).get(variant, 0.0)), write=False))
            if variant in rates:
                self.said[made[-1].id] = float(self.rng.random() < rates[variant])
                rows.append(self.say(made[-1], self.said[made[-1].id], after, write=False))
        assert not any(isinstance(one, Exception) for one in self.store.write_many([*made, *rows]))
        return made

    def move(self, at: float | None = None, **more: Any) -> Moved:
        """Decide as it is done now, when all that was asked is known; the weights of the decision are in force from then on."""
        found = move(self.store, self.task, self.artifacts, at=self.clock + 1 + LAG if at is None else at, **more)
        if found.seq is not None:
            self.weights = dict(found.data["weights"])
        return found

    def beside(self) -> Store:
        """The same store, as another process has it."""
        return Store(self.store.url)
