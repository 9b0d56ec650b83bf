"""An installation with packages that were planted with their answers to test items, and rows of a gateway as they would be."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from test_package import write_task

from pp_assets.champion import read_champion
from pp_assets.evaluation.predictions import PredictionRow, System, write_systems
from pp_assets.flywheel.trial import read_trial
from pp_assets.pipeline import ADAPTERS, DATASETS, EVALUATIONS, PACKAGES, Pipeline
from pp_assets.task.dataset import build_dataset
from pp_resources.artifacts import Artifact
from pp_resources.settings import Settings
from pp_resources.store.opened import Store
from pp_resources.store.rows import Feedback, Inference, Row

FLYWHEEL = {
    "enabled": True,
    "least_new": 100,
    "after_alarm": 100,
    "copies": 40,
    "guards": {"validity": 0.2},
    "watch_answers": 40,
    "watch_hours": 0.0,
    "cool_down_hours": 0.0,
}
RIGHT = {"topic": "refund", "order": None, "angry": False}
WRONG = {"topic": "login", "order": None, "angry": True}


@dataclass
class Wheel:
    """The task "toy" with its flywheel enabled, no model and no gateway."""

    root: Path
    flywheel: dict[str, Any] = field(default_factory=lambda: dict(FLYWHEEL))
    settings: Settings = field(init=False)
    asked: int = 0

    def __post_init__(self) -> None:
        self.settings = Settings(self.root / "home", self.root / "tasks", threads=1)
        write_task(self.settings.tasks, flywheel=self.flywheel, variants=["v1", "v2"])
        task = self.pipeline.task("toy")
        self.pipeline.store.produce(DATASETS, "toy", {"a": "b"}, lambda out: build_dataset(task, out))

    @property
    def pipeline(self) -> Pipeline:
        return Pipeline(self.settings)

    @property
    def store(self) -> Store:
        return self.pipeline.inbox.store

    def packed(self, variant: str, right: int, *, verdict: str = "SHIP") -> Artifact:
        """A package whose answers to so many of 200 test items are right, trained on the data set of now."""
        p = self.pipeline
        dataset, key, made = p.store.current(DATASETS, "toy"), f"toy/{variant}", json.dumps([variant, right, verdict])
        good, bad = json.dumps(RIGHT), json.dumps(WRONG)
        rows = [PredictionRow(f"i{i:03}", f"g{i}", f"text {i}", good, good if i < right else bad) for i in range(200)]

        def report(out: Path) -> dict[str, Any]:
            write_systems(out / "predictions", [System(name=variant, kind="candidate", description="", rows=rows)])
            return {"verdict": verdict, "value": right / 200}

        p.store.produce(ADAPTERS, key, {"made": made}, lambda out: plant(out, made))
        found = p.store.produce(EVALUATIONS, key, {"made": made}, report)
        inputs = {"evaluation": found.digest, "dataset": dataset.digest}
        return p.store.produce(PACKAGES, key, inputs, lambda out: plant(out, made) | {"verdict": verdict})

    def champion(self, variant: str = "v1", right: int = 150) -> str:
        """The first champion, as the test makes it; its digest."""
        made = self.packed(variant, right)
        assert self.pipeline.regression("toy", variant).metadata["promoted"]
        return made.digest

    @property
    def stands(self) -> tuple[str, str | None]:
        """Digest of the champion, and of the package that gets copies."""
        champion, trial = read_champion(self.settings.home, "toy"), read_trial(self.settings.home, "toy")
        return champion.package_digest if champion else "", trial.pack.package_digest if trial else None

    def served(self, count: int, visible: str, hidden: tuple[str, str] | None = None, *, said: str = "", **bad: bool) -> None:
        """Answers of a package, with copies to (role, package). `said` "visible" or "hidden": demonstrations that one of them had right."""
        rows: list[Row] = []
        for _ in range(count):
            self.asked += 1
            text, n = f"text number {self.asked}", self.asked
            outputs = {"visible": RIGHT, "hidden": WRONG}
            rows.append(answer(f"live-{n}", "v1", text, visible, outputs["visible"], bad.get("bad_visible", False)))
            if hidden:
                copy = answer(f"copy-{n}", hidden[0], text, hidden[1], outputs["hidden"], bad.get("bad_hidden", False))
                rows.append(Inference(**{**copy.__dict__, "shadow": True, "tags": {"shadow_of": f"live-{n}"}}))
            if said:
                output = json.dumps(outputs[said])
                rows.append(Feedback(kind="demonstration", inference=f"live-{n}", output=output, source="test"))
        assert not [one for one in self.store.write_many(rows) if isinstance(one, Exception)]

    def demonstrate(self, count: int) -> None:
        """Corrected answers to inputs that came from elsewhere."""
        for _ in range(count):
            self.asked += 1
            self.pipeline.inbox.add(self.pipeline.task("toy"), f"a text {self.asked}", output=RIGHT)


def answer(id: str, variant: str, text: str, package: str, output: Any, bad: bool) -> Inference:
    said = "no JSON" if bad else json.dumps(output)
    told = {"basis": "static", "package": package}
    return Inference(id=id, task="toy", variant=variant, input=text, output=said, valid=not bad, latency_ms=10.0, decision=told)


def plant(out: Path, text: str) -> dict[str, Any]:
    (out / "x").write_text(text)
    return {}
